"""A message's content as it goes over the wire."""

from __future__ import annotations

from typing import Any

from .completion import complete
from .simple import write
from .writing import build, write_built


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
    data = write_built(build(message), id_, linesep="\r\n", seven_bit=seven_bit, utf8=utf8)
    return data if data.endswith(b"\r\n") else data + b"\r\n"
