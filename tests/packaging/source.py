"""The source of the project, as the tests of the repository read it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "mailqueue"


def name_of(path: Path) -> str:
    """A module's name within mailqueue."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def trees(directory: Path) -> Iterator[tuple[Path, ast.Module]]:
    """The modules below a directory."""
    for path in sorted(directory.rglob("*.py")):
        yield path, ast.parse(path.read_text("utf-8"))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The functions of a module, and those within them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def imported(path: Path, tree: ast.AST) -> Iterator[str]:
    """The absolute names of what is imported, down to the names taken from a module."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*parents, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)
