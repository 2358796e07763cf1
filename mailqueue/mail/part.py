"""The parts of a message: what may be attached, and how it is."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator
from copy import deepcopy
from email.charset import Charset
from email.contentmanager import raw_data_manager
from email.message import EmailMessage, Message, MIMEPart
from email.mime.base import MIMEBase
from email.policy import EmailPolicy
from typing import Any

from .address import refuse_line_ends
from .forwarded import comes_as_it_is, message_source, put_message
from .header import encode_value, needs_encoding
from .text import (
    DEFAULT_TYPE,
    alternative_arguments,
    base64_lines,
    content_arguments,
    is_binary,
    refuse_no_content,
    split_type,
    text_or_binary,
)

_STREAM: dict[str, Any] = {"maintype": "application", "subtype": "octet-stream"}
MAX_DEPTH = 100  # as Postfix reads it; Python's generator fails somewhere beyond


def file_name(filename: Any) -> str:
    """The name of an attachment as text; TypeError for bytes, whose charset nobody knows."""
    if is_binary(filename):
        raise TypeError(f"filename must be a string, not {filename!r:.100}")
    return "" if filename is None else str(filename)


def check_content(filename: Any, content: Any, mimetype: str | None) -> tuple[Any, str]:
    """The content, decoded if it is text, and its type, guessed if it isn't given."""
    name = file_name(filename)
    mimetype = mimetype or mimetypes.guess_type(name)[0] or DEFAULT_TYPE
    split_type(mimetype)
    refuse_no_content(content, mimetype, name)
    return text_or_binary(content, mimetype)


def no_attachment(given: object) -> TypeError:
    """The error that says what an attachment is."""
    return TypeError(
        "each of the attachments must be a tuple (filename, content, mimetype), an "
        f"EmailAttachment or an email.message.MIMEPart, not {given!r:.100}"
    )


def refuse_old_message(part: Message[Any, Any]) -> None:
    """Raise ValueError for a whole message, whose headers would be read as those of a part."""
    if not isinstance(part, (MIMEPart, MIMEBase)):
        raise ValueError(
            "an email.message.Message can't be attached as a part: give it as the content of "
            "an attachment of the type 'message/rfc822'"
        )


def attach_content(
    message: EmailMessage,
    filename: str | None,
    content: Any,
    mimetype: str | None,
    charset: str | Charset,
) -> None:
    """Attach a content under that name, making the message ``multipart/mixed`` if it isn't yet."""
    content, mimetype = check_content(filename, content, mimetype)
    named: dict[str, Any] = {}
    if filename is not None:
        named["filename"] = file_name(filename)
        refuse_line_ends(named["filename"], "Content-Disposition")
    if comes_as_it_is(content, mimetype):
        message.add_attachment(b"", **_STREAM, **named)
        _put_source(message, mimetype, content)
        return
    content, options = content_arguments(content, mimetype, charset, message.policy)
    _add_attachment(message, content, options | named)


def attach_version(
    message: EmailMessage, content: Any, mimetype: str, charset: str | Charset
) -> None:
    """Add a version of the body, making the message ``multipart/alternative`` if it isn't yet."""
    if comes_as_it_is(content, mimetype):
        message.add_alternative(b"", **_STREAM)
        _put_source(message, mimetype, content)
        return
    content, options = alternative_arguments(content, mimetype, charset, message.policy)
    message.add_alternative(content, **options)


def _put_source(message: EmailMessage, mimetype: str, content: Any) -> None:
    """Have the newest part of the message hold a message that came as bytes or text."""
    part: Any = message.get_payload()[-1]  # type: ignore[index] # it is a multipart now
    put_message(
        part, mimetype, message_source(content), seven_bit=message.policy.cte_type == "7bit"
    )


def _add_attachment(message: EmailMessage, content: Any, options: dict[str, Any]) -> None:
    """Attach what ``content_arguments()`` returned, as ``message.add_attachment()`` does."""
    policy: Any = message.policy
    if not isinstance(content, bytes) or policy.content_manager is not raw_data_manager:
        message.add_attachment(content, **options)
        return
    message.add_attachment(b"", **options)
    part: Any = message.get_payload()[-1]  # type: ignore[index] # it is a multipart now
    part.set_payload(base64_lines(content, policy.max_line_length).decode("ascii"))


def attach_part(message: EmailMessage, part: Message[Any, Any]) -> None:
    """Attach a part as it is, making the message ``multipart/mixed`` if it isn't yet.

    Headers that only the older policy could write are encoded, in a copy. Raises TypeError for a
    part whose payload can't be written.
    """
    for inner in outer_parts(part):
        _refuse_bad_payload(inner, part)
    if message.get_content_type() != "multipart/mixed":
        message.make_mixed()
    message.attach(_with_written_headers(part))  # type: ignore[arg-type] # any Message will do


def outer_parts(message: Message[Any, Any], depth: int = 0) -> Iterator[Message[Any, Any]]:
    """The message and its parts, but nothing from within messages that it forwards."""
    if depth > MAX_DEPTH:
        raise ValueError(f"the parts of a message may be nested {MAX_DEPTH} deep, not deeper")
    yield message
    if message.get_content_maintype() == "multipart" and message.is_multipart():
        for part in message.get_payload():
            yield from outer_parts(part, depth + 1)  # type: ignore[arg-type] # parts are Messages


def _refuse_bad_payload(part: Message[Any, Any], whole: Message[Any, Any]) -> None:
    payload: Any = part.get_payload()
    parts = payload if isinstance(payload, list) else []
    if not isinstance(payload, str | list | None) or not all(isinstance(p, Message) for p in parts):
        name = part.get_filename() or whole.get_filename() or part.get_content_type()
        raise TypeError(
            f"{name}: the payload of a part must be text or a list of parts, not {payload!r:.100}"
        )


def _with_written_headers(part: Message[Any, Any]) -> Message[Any, Any]:
    if not any(_has_raw_headers(inner) for inner in outer_parts(part)):
        return part
    part = deepcopy(part)
    for inner in outer_parts(part):
        if _has_raw_headers(inner):
            headers = list(inner.raw_items())
            for name in inner:
                del inner[name]
            for name, value in headers:
                inner[name] = encode_value(name, value) if needs_encoding(value) else value
    return part


def _has_raw_headers(part: Message[Any, Any]) -> bool:
    return not isinstance(part.policy, EmailPolicy) and any(
        needs_encoding(value) for _, value in part.raw_items()
    )
