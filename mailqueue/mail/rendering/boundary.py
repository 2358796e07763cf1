"""Boundaries between the parts of a message: the same each time, and found nowhere else."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from email.message import Message
from email.policy import Policy
from itertools import count
from typing import Any, TypeAlias

from .generator import generate

_TRIES = 20
_SOUND = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")  # RFC 2046 5.1.1

_Message: TypeAlias = "Message[Any, Any]"


def boundary(id_: str, number: int, attempt: int = 0) -> str:
    """The boundary of a message's multipart, by its place among the parts: the same each time.

    All have one length, so that none begins with another (RFC 2046 5.1.1 compares beginnings).
    """
    place = f"{id_} {number} {attempt}"
    return f"=_{hashlib.sha256(place.encode()).hexdigest()[:26]}"


def is_within(limit: str, data: bytes) -> bool:
    """Whether a line of the data begins as the lines do that this boundary stands in."""
    return _lines(limit, data) > 0


def set_boundaries(whole: _Message, id_: str) -> None:
    """Give a boundary to each multipart that has none, or one that can't be written."""
    for number, part in enumerate(whole.walk()):
        if is_of_parts(part):
            given = part.get_boundary()
            if given is None or not _SOUND.fullmatch(given):
                part.set_boundary(boundary(id_, number))


def write_whole(whole: _Message, policy: Policy[Any], id_: str | None) -> bytes:
    """The message's bytes, with another boundary for each that stands in a content too.

    Without an ``id_`` Python's generator chooses those that are missing.
    """
    if id_ is None:
        return generate(whole, policy)
    for attempt in range(1, _TRIES):
        data = generate(whole, policy)
        ambiguous = [found for found in _multiparts(whole) if _is_ambiguous(found[1], data)]
        if not ambiguous:
            return data
        for number, part in ambiguous:
            part.set_boundary(boundary(id_, number, attempt))
    raise ValueError("the message has lines that look like the boundaries between its parts")


def _is_ambiguous(part: _Message, data: bytes) -> bool:
    parts = max(len(part.get_payload()), 1)  # one is written in any case
    return _lines(part.get_boundary() or "", data) != parts + 1


def _lines(limit: str, data: bytes) -> int:
    """How many lines begin like the boundary."""
    line = f"--{limit}".encode()
    return data.count(b"\n" + line) + data.startswith(line)


def _multiparts(
    part: _Message, numbers: Iterator[int] | None = None
) -> Iterator[tuple[int, _Message]]:
    """The multiparts whose boundaries may be chosen, numbered: none within what is signed."""
    numbers = numbers or count()
    number = next(numbers)
    if is_of_parts(part):
        yield number, part
        if part.get_content_subtype() == "signed":
            return
    if part.is_multipart():
        for inner in part.get_payload():
            yield from _multiparts(inner, numbers)  # type: ignore[arg-type] # parts are Messages


def is_of_parts(part: _Message) -> bool:
    """Whether it is a multipart, and doesn't only say so."""
    return part.get_content_maintype() == "multipart" and part.is_multipart()
