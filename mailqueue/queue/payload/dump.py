"""A message to its payload (``docs/payload.md``)."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from copy import copy
from email.message import Message
from email.utils import formatdate
from functools import lru_cache
from typing import Any

from mailqueue.conf import settings
from mailqueue.errors import PayloadError
from mailqueue.mail.address import envelope_address, refuse_line_ends
from mailqueue.mail.header import header_text
from mailqueue.mail.message import ADDRESS_LISTS
from mailqueue.mail.msgid import make_msgid
from mailqueue.mail.rendering.shape import builder_of
from mailqueue.mail.rendering.simple import is_sound

from .. import quickjson
from .attribute import dump_attributes
from .blob import BlobCollector
from .codec import VERSION, compress
from .content import dump_attachment, dump_content, in_base64
from .kind import named_class
from .rendered import RenderedMessage

LISTS = ("to", "cc", "bcc", "reply_to")
# What classes have unless somebody says otherwise; Django 6.1's have only the first of them.
SHAPE = {
    "content_subtype": "plain",
    "mixed_subtype": "mixed",
    "alternative_subtype": "alternative",
}


def dumps(
    message: Any,
    id_: str,
    blobs: BlobCollector | None = None,
    recipients: Sequence[str] | None = None,
) -> str:
    """Turn a message of ours or of Django's into a payload; large attachments go to ``blobs``.

    ``recipients`` is the list of the message's own, where the caller has it at hand. Message-ID and
    Date are fixed here, so that every attempt sends the same ones. Raises ValueError for a newline
    in a header or an address, and PayloadError (a ValueError too) for what can't be carried, naming
    it.
    """
    blobs = blobs if blobs is not None else BlobCollector(sys.maxsize)
    blobs.used = {}
    own = _builds_its_own(message)
    if recipients is None:
        recipients = list(message.recipients())
    for address in (message.from_email, *recipients):
        if address:
            envelope_address(address)  # raises what is wrong with it
    if own:
        _refuse_line_ends(message)
        found = _dump_rendered(message, message.message(), recipients)
    else:
        _refuse_unbuildable(message, blobs.threshold)
        found = _dump_fields(message, blobs)
    try:
        text = quickjson.dumps({"v": VERSION, "id": id_} | found)
    except (TypeError, ValueError) as error:
        raise PayloadError(f"the message can't be queued: {error}") from error
    text = compress(text, id_)
    size = len(text.encode()) + sum(map(len, blobs.used.values()))
    limit = settings.MAILQUEUE.MAX_MESSAGE_SIZE
    if size > limit:
        raise PayloadError(
            f"the message takes {size} bytes in the queue, and "
            f"MAILQUEUE['MAX_MESSAGE_SIZE'] is {limit}"
        )
    return text


def summary(message: Any, recipients: Sequence[str]) -> dict[str, object]:
    """Return what operators see of a message: subject, sender and recipients."""
    return {
        "subject": _text(message.subject),
        "from": _sender(message),
        "to": [str(address) for address in recipients],
    }


def _builds_its_own(message: Any) -> bool:
    """Whether the message's class overrides ``message()``, or its encoding is no plain name."""
    if getattr(message, "mailqueue_class", None):
        return False  # its class is named, and builds it in the worker
    if isinstance(message, RenderedMessage):
        return False
    kind: Any = type(message)
    return builder_of(kind) is None or not isinstance(message.encoding, str | None)


def _refuse_line_ends(message: Any) -> None:
    """Raise ValueError for any kind of line end in a header.

    Django's classes refuse LF and CR only, and parsers split headers at others too.
    """
    refuse_line_ends(str(message.subject), "Subject")
    for name, header in ADDRESS_LISTS.items():
        addresses = getattr(message, name, None)
        # An iterator can be read only once, and not here.
        for address in addresses if isinstance(addresses, (list, tuple)) else ():
            refuse_line_ends(str(address), header)
    for name, value in (message.extra_headers or {}).items():
        refuse_line_ends(str(name), "name")
        refuse_line_ends(header_text(str(name), value), str(name))


def _refuse_unbuildable(message: Any, threshold: int) -> None:
    """Raise what ``message()`` raises: bad headers are an error now, not in a worker."""
    # Building takes most of the producer's time. What is large can't be wrong, only slow.
    if not is_sound(message):
        _refuse_line_ends(message)
        _without_weight(message, threshold).message()


def _without_weight(message: Any, threshold: int) -> Any:
    """A copy whose large binary attachments are empty, to see whether the rest can be built."""
    light = copy(message)
    light.attachments = [
        (part[0], b"", part[2]) if _is_heavy(part, threshold) else part
        for part in message.attachments or ()
    ]
    return light


def _is_heavy(part: Any, threshold: int) -> bool:
    return isinstance(part, tuple) and isinstance(part[1], bytes) and len(part[1]) > threshold


def _dump_rendered(message: Any, rendered: Message, recipients: Sequence[str]) -> dict[str, Any]:
    if "Message-ID" not in rendered:
        rendered["Message-ID"] = make_msgid()
    if "Date" not in rendered:
        rendered["Date"] = _date()
    return {
        "kind": "rendered",
        "subject": _text(message.subject),
        "from_email": _sender(message),
        "recipients": [str(address) for address in recipients],
        "mime": in_base64(rendered.as_bytes()),
        # What its class needed to build it may have no form in JSON; the rest is for who sends it.
        "attributes": dump_attributes(message, strict=False),
    }


def _dump_fields(message: Any, blobs: BlobCollector) -> dict[str, Any]:
    multiple = hasattr(message, "alternatives")
    found: dict[str, Any] = {
        "kind": "EmailMultiAlternatives" if multiple else "EmailMessage",
        "subject": _text(message.subject),
        "body": _text(message.body),
        "from_email": _sender(message),
        "headers": _dump_headers(message.extra_headers or {}),
        "encoding": _word(message, "encoding"),
        "attachments": [dump_attachment(part, blobs) for part in message.attachments or ()],
    }
    for name in LISTS:
        addresses = getattr(message, name)
        found[name] = [str(address) for address in addresses if address] if addresses else []
    for name in SHAPE:
        if hasattr(message, name):
            found[name] = _word(message, name)
    if getattr(message, "mailqueue_class", None):
        found["class"] = named_class(message)
    if multiple:
        contents = message.alternatives or ()
        found["alternatives"] = [dump_content(None, content, type_) for content, type_ in contents]
    found["attributes"] = dump_attributes(message)
    return found


def _text(value: Any) -> str:
    """Text of a message; None means the same as in the message's constructor."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode()
    return "" if value is None else str(value)


def _word(message: Any, name: str) -> str | None:
    """What ``message()`` takes as it is."""
    value: Any = getattr(message, name)
    if not isinstance(value, str | None):
        kind = type(value).__name__
        raise PayloadError(f"the message's {name} can't be queued: it must be text, not {kind}")
    return value


def _sender(message: Any) -> str:
    return str(settings.DEFAULT_FROM_EMAIL if message.from_email is None else message.from_email)


def _dump_headers(headers: Mapping[str, Any]) -> dict[str, str]:
    found = {str(name): header_text(str(name), value) for name, value in headers.items()}
    names = {*map(str.lower, found)}
    if "message-id" not in names:
        found["Message-ID"] = make_msgid()
    if "date" not in names:
        found["Date"] = _date()
    return found


def _date() -> str:
    # Which time zone is the local one may change.
    return formatdate(localtime=True) if settings.EMAIL_USE_LOCALTIME else _utc(int(time.time()))


@lru_cache(maxsize=1)
def _utc(second: int) -> str:
    # +0000, as message() has it: -0000 says that the time zone is not known (RFC 5322, 3.3).
    return formatdate(second).replace("-0000", "+0000")
