"""What the queue fixes for a message and keeps apart from it: Message-ID, Date, the sender.

A mail service's API is told what the application set, and nothing else. So ``extra_headers`` stay
as they were, and only a message that is written as MIME is completed.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any, NamedTuple

from ..header import header_text

_ATTRIBUTE = "_mailqueue_completion"


class Completion(NamedTuple):
    """What a message gets where it is written as MIME, and has nothing of its own.

    ``sender`` takes the place of ``from_email``, where that is None or names several addresses.
    """

    headers: Mapping[str, str]
    sender: str | None = None


def keep_apart(message: Any, completion: Completion) -> None:
    """Have the message carry what ``complete`` adds to it."""
    setattr(message, _ATTRIBUTE, completion)


def complete(message: Any) -> Any:
    """The message as it is written: a copy with what was kept apart; itself if there is nothing."""
    completion = getattr(message, _ATTRIBUTE, None)
    if completion is None:
        return message
    whole = copy(message)
    delattr(whole, _ATTRIBUTE)
    given = header_texts(message)
    names = {*map(str.lower, given)}
    missing = {n: value for n, value in completion.headers.items() if n.lower() not in names}
    whole.extra_headers = given | missing
    if completion.sender is not None:
        whole.from_email = completion.sender
    if message.subject is None:
        whole.subject = ""
    return whole


def header_texts(message: Any) -> dict[str, str]:
    """The extra headers as texts. Raises TypeError for a value that has none."""
    given = (message.extra_headers or {}).items()
    return {str(name): header_text(str(name), value) for name, value in given}
