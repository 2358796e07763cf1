"""The table of mutations says of the code as it is now what can be broken in it."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

from tests.support import ROOT
from tests.tools.mutations import MUTATIONS

PYTHON = [mutation for mutation in MUTATIONS if mutation.path.endswith(".py")]


def is_code(statement: ast.stmt) -> bool:
    """Whether it does anything: a docstring, an import, ``__all__`` and a protocol don't."""
    match statement:
        case ast.Import() | ast.ImportFrom() | ast.Expr(ast.Constant()):
            return False
        case ast.Assign([ast.Name("__all__")]) | ast.ClassDef(bases=[ast.Name("Protocol")]):
            return False
    return True


def has_code(path: Path) -> bool:
    return path.suffix == ".lua" or any(map(is_code, ast.parse(path.read_text("utf-8")).body))


def modules() -> set[str]:
    paths = [*(ROOT / "mailqueue").rglob("*.py"), *(ROOT / "mailqueue").rglob("*.lua")]
    return {str(path.relative_to(ROOT)) for path in paths if has_code(path)}


def test_every_mutation_can_still_be_made():
    """The text that a mutation replaces stands in its module just once."""
    assert [f"{m.path}: {m}" for m in MUTATIONS if not m.applies()] == []


def test_mutated_code_is_code():
    """A mutation leaves a module that can be compiled, so that only its behaviour is wrong."""
    for mutation in PYTHON:
        if mutation.applies():
            compile(mutation.mutated(), f"{mutation.path}: {mutation}", "exec")


def test_every_module_is_mutated():
    """No module of the package is without a mutation that the tests have to find."""
    assert modules() - {mutation.path for mutation in MUTATIONS} == set()


def test_no_mutation_is_there_twice():
    """Each mutation is made once."""
    assert [key for key, n in Counter(m.key for m in MUTATIONS).items() if n > 1] == []


def exists(test: str) -> bool:
    path, _, function = test.partition("::")
    file = ROOT / path
    return file.is_file() and f"def {function}" in file.read_text("utf-8")


def test_likely_tests_exist():
    """The tests that are named for a mutation are there: a wrong name would find any mutation."""
    assert sorted({test for m in MUTATIONS for test in m.tests if not exists(test)}) == []
