"""The table of mutations says of the code as it is now what can be broken in it."""

from __future__ import annotations

import ast
from collections import Counter

from tests.support import ROOT
from tests.tools.mutations import MUTATIONS

# They import names for others to import, and do nothing else.
WITHOUT_CODE = {"mailqueue/queue/journal/__init__.py"}
PYTHON = [mutation for mutation in MUTATIONS if mutation.path.endswith(".py")]


def has_code(text: str) -> bool:
    return any(not isinstance(statement, ast.Expr) for statement in ast.parse(text).body)


def modules() -> set[str]:
    paths = [*(ROOT / "mailqueue").rglob("*.py"), *(ROOT / "mailqueue").rglob("*.lua")]
    found = {
        str(p.relative_to(ROOT)) for p in paths if p.suffix == ".lua" or has_code(p.read_text())
    }
    return found - WITHOUT_CODE


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
