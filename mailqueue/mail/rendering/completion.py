"""What the queue fixes for a message and keeps apart from it: Message-ID, Date, the sender.

A mail service's API is told what the application set, and nothing else. So ``extra_headers`` stay
as they were, and only a message that is written as MIME is completed.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any, NamedTuple

from ..address import writable_address
from ..header import header_text
from ..message import ADDRESS_LISTS

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
    sender = message.from_email if completion.sender is None else completion.sender
    whole = in_texts(message, sender)
    delattr(whole, _ATTRIBUTE)
    names = {*map(str.lower, whole.extra_headers)}
    missing = {n: value for n, value in completion.headers.items() if n.lower() not in names}
    whole.extra_headers |= missing
    return whole


def in_texts(message: Any, sender: str) -> Any:
    """A copy of texts that any class can write. Raises TypeError for a header that is none.

    Django's classes write None as a word, and some of them no number, nor the domains that
    ``writable_address`` knows.
    """
    texts = copy(message)
    given = (message.extra_headers or {}).items()
    texts.extra_headers = {
        str(name): value if type(value) is str else header_text(str(name), value)
        for name, value in given
    }
    texts.subject = "" if message.subject is None else message.subject
    texts.body = "" if message.body is None else message.body
    texts.from_email = writable_address(sender)
    for name in ADDRESS_LISTS:
        addresses = getattr(message, name)
        # Anything but a list is an error, or can be read only once.
        if addresses and isinstance(addresses, (list, tuple)):
            setattr(texts, name, [writable_address(str(one)) for one in addresses if one])
    return texts
