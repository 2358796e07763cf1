"""One row of the table of mutations."""

from __future__ import annotations

from typing import NamedTuple

from tests.support import ROOT


class Mutation(NamedTuple):
    """A change of the code that a test has to find, and the tests that are likely to.

    ``old`` stands in the file once, and becomes ``new``. ``why`` is the reason for which no test
    can find it: it makes no difference that anybody would notice.
    """

    path: str
    old: str
    new: str
    tests: tuple[str, ...]
    why: str = ""

    @property
    def key(self) -> str:
        """What is the same as long as the mutation is."""
        return f"{self.path}: {self.old!r} -> {self.new!r}"

    def __str__(self) -> str:
        return f"{_line(self.old)!r} -> {_line(self.new)!r}"

    def applies(self) -> bool:
        return (ROOT / self.path).read_text("utf-8").count(self.old) == 1

    def mutated(self) -> str:
        """The file's text with the mutation made."""
        return (ROOT / self.path).read_text("utf-8").replace(self.old, self.new)


def of(module: str, tests: str, *rows: tuple[str, ...]) -> list[Mutation]:
    """The mutations of a module, each the old and the new text.

    ``tests`` are those that are likely to find them, the cheapest first, below ``tests/``. A third
    text of a row names others for it, and a fourth is the reason for which it can't be found.
    """
    path = f"mailqueue/{module}" if "." in module else f"mailqueue/{module}.py"
    return [_row(path, tests, *row) for row in rows]


def _row(path: str, tests: str, old: str, new: str, others: str = "", why: str = "") -> Mutation:
    chosen = tuple(f"tests/{name}" for name in (others or tests).split())
    return Mutation(path, old, new, chosen, why)


def _line(text: str) -> str:
    return " ".join(text.split())
