"""What holds for the repository as a whole: docstrings, import directions, no private paths."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

from tests.packaging.source import PACKAGE, ROOT, functions, trees

# A test that doesn't run shows nothing. A missing service has the marker `needs`: it fails in CI.
MAY_SKIP = {
    "tests/conftest.py": "this is where `needs` skips",
    "tests/mail/test_django.py": "one of two tests runs, as the version of Django allows",
    "tests/suites/test_suites.py": "Django 6 needs Python 3.12; .ci/run has one run these tests",
}


def tracked() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    paths = [ROOT / name for name in listing.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


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
