"""Messages that are attached as bytes or text: they are written as they came, and never parsed.

To parse and write them again would break signatures over them, and fail on what breaks the rules.
"""

from __future__ import annotations

import re
from email.message import Message, MIMEPart
from typing import Any

from .text import base64_lines, is_binary, is_message_type

LONGEST_LINE = 998  # bytes, RFC 5322 2.1.1, without the line's end
# RFC 2045 5.1; a reader takes anything else for text.
_READABLE_TYPE = re.compile(r"message/[!#$%&'*+.^_`{|}~0-9a-z-]+\s*(?:;|$)", re.IGNORECASE)
_LINE_LENGTH = 76  # of base64, RFC 2045 6.8


class AsItCame(MIMEPart):
    """What stands within a part of the type ``message/*``: the bytes of the attached message.

    Its payload is all of them, header fields included, as Python keeps bytes in text.
    """

    def _write_headers(self, generator: Any) -> None:
        """Write nothing: Python's generators ask a part for this method first."""


def comes_as_it_is(content: Any, mimetype: str) -> bool:
    """Whether it is a message as bytes or text, and not as an object."""
    is_object = isinstance(content, Message) or hasattr(content, "message")
    return is_message_type(mimetype) and not is_object


def message_source(content: Any) -> bytes:
    """The bytes of such a message; what stands for bytes in text becomes those again (PEP 383)."""
    return bytes(content) if is_binary(content) else str(content).encode("utf-8", "surrogateescape")


def is_in_lines(data: bytes, *, seven_bit: bool = False) -> bool:
    """Whether a server takes the bytes as they are, and nothing but the line ends can change.

    It doesn't where a line has more than 998 bytes, and where there is a NUL, or a bare CR or LF
    beside other line ends. LF alone is how files end their lines.
    """
    if (seven_bit and not data.isascii()) or b"\0" in data:
        return False
    with_cr = data.count(b"\r\n")
    if data.count(b"\r") != with_cr or with_cr not in (0, data.count(b"\n")):
        return False
    return max(map(len, data.splitlines()), default=0) <= LONGEST_LINE


def put_message(
    part: Message[Any, Any], mimetype: str, data: bytes, *, seven_bit: bool = False
) -> None:
    """Make the part one of the type ``message/*``, if its lines can be written as they are.

    Otherwise the part becomes a stream of bytes in base64. A message itself may not be in base64
    (RFC 2046 5.2.1), so there is no other way to send it whole.
    """
    _set_field(part, "Content-Type", mimetype)
    if is_in_lines(data, seven_bit=seven_bit) and _READABLE_TYPE.match(mimetype):
        put_source(part, data)
        _set_field(part, "Content-Transfer-Encoding", "7bit" if data.isascii() else "8bit")
    else:
        put_bytes(part, data)


def put_source(part: Message[Any, Any], data: bytes) -> None:
    """Have the part, which is of the type ``message/*``, hold these bytes."""
    part.set_payload([_as_it_came(piece) for piece in _blocks(part, data)])


def put_bytes(part: Message[Any, Any], data: bytes) -> None:
    """Make the part a stream of bytes in base64; a whole message without a name gets one."""
    if part.get_content_type() == "message/rfc822" and not part.get_filename():
        del part["Content-Disposition"]
        part.add_header("Content-Disposition", "attachment", filename="message.eml")
    _set_field(part, "Content-Type", "application/octet-stream")
    put_base64(part, data)


def put_base64(part: Message[Any, Any], data: bytes) -> None:
    """Have the part hold these bytes in base64, whatever it is."""
    _set_field(part, "Content-Transfer-Encoding", "base64")
    part.set_payload(base64_lines(data, _LINE_LENGTH).decode("ascii"))


def _set_field(part: Message[Any, Any], name: str, value: str) -> None:
    if len(part.get_all(name) or ()) == 1:
        part.replace_header(name, value)
    else:
        del part[name]
        part[name] = value


def _as_it_came(data: bytes) -> AsItCame:
    within = AsItCame()
    within.set_payload(data.decode("ascii", "surrogateescape"))
    return within


def _blocks(part: Message[Any, Any], data: bytes) -> list[bytes]:
    """The pieces that Python's generators put together again, with a line's end between them."""
    # Of each block of a delivery report they drop the last line's end.
    is_report = part.get_content_type() == "message/delivery-status"
    return [data, b""] if is_report and data.endswith(b"\n") else [data]
