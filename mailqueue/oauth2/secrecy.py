"""Keeping secrets out of texts that people and logs get to see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

_SHORTEST = 4  # characters; to replace each "1" would only make a text unreadable


def hide(text: str, secrets: Mapping[str, Any]) -> str:
    """Return the text with each secret, as it is or as a URL has it, replaced by its name."""
    found = [(value, name) for name, secret in secrets.items() for value in _texts_in(secret)]
    for value, name in sorted(found, key=lambda pair: len(pair[0]), reverse=True):
        for spelling in (value, repr(value)[1:-1], quote(value), quote_plus(value)):
            text = text.replace(spelling, f"({name})")
    return text


def _texts_in(secret: Any) -> Iterator[str]:
    """Each text in a value, and each of its lines: a private key has many."""
    if isinstance(secret, Mapping):
        for value in secret.values():
            yield from _texts_in(value)
    elif isinstance(secret, list | tuple):
        for value in secret:
            yield from _texts_in(value)
    elif isinstance(secret, str | bytes):
        text = secret if isinstance(secret, str) else secret.decode("latin-1")
        yield from (part for part in {text, *text.splitlines()} if len(part) >= _SHORTEST)
