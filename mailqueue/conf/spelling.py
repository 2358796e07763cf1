"""Names that are close: what a misspelt one was probably meant to be."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def guess(word: object, choices: Iterable[str], prefix: str = "") -> str:
    """A question to be added to a sentence, `` Is RETRY meant?``; empty where nothing comes close.

    ``prefix`` is shown before the name that is found.
    """
    by_capitals = {choice.upper(): choice for choice in sorted(choices)}
    found = get_close_matches(str(word).upper(), by_capitals, 1)
    return f" Is {prefix}{by_capitals[found[0]]} meant?" if found else ""
