"""A message's content as it goes over the wire."""

from __future__ import annotations

import re
from email.message import Message
from email.policy import EmailPolicy
from typing import Any

from mailqueue.errors import BadHeaderError

from .completion import complete
from .flatten import encode_unfit
from .generator import boundary, generate
from .simple import write

_LINE_END = re.compile(rb"\r\n|\r|\n")
_HEADER_END = re.compile(r"[\r\n](?![\n \t])")  # not a fold


def rendered_bytes(message: Any, id_: str, *, seven_bit: bool = False, utf8: bool = False) -> bytes:
    """The message's content with CRLF line ends, and boundaries that derive from ``id_``.

    ``utf8`` leaves headers in UTF-8, which is the only way to write an address that isn't ASCII
    (RFC 6532); it needs a server with SMTPUTF8.
    """
    message = complete(message)
    data = write(message, id_, seven_bit=seven_bit, utf8=utf8)
    return built_bytes(message, id_, seven_bit=seven_bit, utf8=utf8) if data is None else data


def built_bytes(message: Any, id_: str, *, seven_bit: bool = False, utf8: bool = False) -> bytes:
    """The same for a message of any shape, as its ``message()`` builds it."""
    built: Message = message.message()
    _refuse_injected_headers(built)
    _set_boundaries(built, id_)
    encode_unfit(built, seven_bit=seven_bit)
    policy = built.policy.clone(linesep="\r\n")
    if seven_bit:
        policy = policy.clone(cte_type="7bit")
    if utf8 and isinstance(policy, EmailPolicy):
        policy = policy.clone(utf8=True)
    data = _LINE_END.sub(b"\r\n", generate(built, policy))
    return data if data.endswith(b"\r\n") else data + b"\r\n"


def _refuse_injected_headers(built: Message) -> None:
    """Whoever built it: Django 5.2 and Python's older policy write any name, and some any value."""
    for name, value in built.items():
        if _HEADER_END.search(f"{name}: {value}"):
            raise BadHeaderError(f"a header would be written as several: {name!r}: {str(value)!r}")


def _set_boundaries(built: Message, id_: str) -> None:
    for number, part in enumerate(built.walk()):
        if part.get_content_maintype() == "multipart" and part.get_boundary() is None:
            part.set_boundary(boundary(id_, number))
