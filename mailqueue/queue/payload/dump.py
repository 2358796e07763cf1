"""A message to its payload (``docs/payload.md``)."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from email.message import Message
from email.utils import format_datetime, formatdate
from functools import lru_cache
from math import isfinite
from typing import Any, NamedTuple

from mailqueue.conf import settings
from mailqueue.errors import BadHeaderError, PayloadError
from mailqueue.mail.address import envelope_address, first_sender, refuse_line_ends
from mailqueue.mail.header import header_text
from mailqueue.mail.message import ADDRESS_LISTS, EmailMessage
from mailqueue.mail.msgid import make_msgid
from mailqueue.mail.rendering.completion import in_texts
from mailqueue.mail.rendering.fit import WRITING_ERRORS
from mailqueue.mail.rendering.proof import is_sound, refuse_unwritable
from mailqueue.mail.rendering.shape import builder_of
from mailqueue.mail.rendering.writing import attached_messages, build, refuse_injected_headers
from mailqueue.mail.text import is_lazy_text

from .. import quickjson
from .attribute import dump_attributes, is_left_behind
from .blob import BlobCollector
from .codec import VERSION, compress
from .content import dump_attachment, dump_content, in_base64
from .derived import fields_in
from .kind import SHAPE, as_ours, family_name, kind_of, named_class
from .likeness import Said, said_in, said_in_mime
from .rendered import as_rendered
from .value import to_json

_OWN_HEADERS = ("Message-ID", "Date")
LISTS = ("to", "cc", "bcc", "reply_to")
_NONE = object()
# What a class may replace that builds its messages itself; on a single message too.
_BUILDING = {"message", "recipients"}


class Dumped(NamedTuple):
    """A message as text, and what of it would be the same if it were turned into text again."""

    text: str
    said: Said


def dumps(
    message: Any,
    id_: str,
    blobs: BlobCollector | None = None,
    recipients: Sequence[str] | None = None,
) -> str:
    """Turn a message into a payload, as ``serialize`` does; return its text."""
    return serialize(message, id_, blobs, recipients).text


def serialize(
    message: Any,
    id_: str,
    blobs: BlobCollector | None = None,
    recipients: Sequence[str] | None = None,
) -> Dumped:
    """Turn a message of ours or of Django's into a payload; large attachments go to ``blobs``.

    ``recipients`` is the list of the message's own, where the caller has it at hand. Message-ID and
    Date are fixed here, so that every attempt sends the same ones. Raises ValueError for a newline
    in a header or an address, and PayloadError (a ValueError too) for what can't be carried, naming
    it.
    """
    blobs = blobs if blobs is not None else BlobCollector(sys.maxsize)
    blobs.used = {}
    if recipients is None:
        recipients = list(message.recipients())
    # Raises what is wrong with one of them.
    sender = first_sender(_sender(message))
    envelope = [envelope_address(address) for address in (sender, *recipients) if address]
    utf8 = not "".join(envelope).isascii()
    own = _builds_its_own(message)
    if not own:
        own = _is_built_only_here(message, id_, blobs.threshold, utf8=utf8)
        found = _dump_fields(message, blobs)  # raises what can't be carried
    if own:
        blobs.used = {}
        found = _dump_own(message, id_, recipients, blobs, utf8=utf8)
    try:
        text = quickjson.dumps({"v": VERSION, "id": id_} | found)
    except (TypeError, ValueError) as error:
        raise PayloadError(f"the message can't be queued: {error}") from error
    if own:
        said = said_in_mime(found, _fresh(message), _hash_of_fields(message))
    else:
        said = said_in(text, [id_, *(found["added"][name] for name in _OWN_HEADERS)])
    text = compress(text, id_)
    _refuse_too_large(text, blobs)
    return Dumped(text, said)


def _hash_of_fields(message: Any) -> int:
    """The hash of what was set on a message that its class renders; 0 if that can't be told."""
    try:
        if any(name.startswith("_") or is_left_behind(message, name) for name in vars(message)):
            return 0
        found = _dump_fields(message, BlobCollector(sys.maxsize))
    except Exception:  # noqa: BLE001 - it may be a message of anybody's
        return 0
    del found["added"]
    return hash(quickjson.dumps(found))


def _refuse_too_large(text: str, blobs: BlobCollector) -> None:
    size = len(text.encode()) + sum(map(len, blobs.used.values()))
    limit = settings.MAILQUEUE.MAX_MESSAGE_SIZE
    if size > limit:
        raise PayloadError(
            f"the message takes {size} bytes in the queue, and "
            f"MAILQUEUE['MAX_MESSAGE_SIZE'] is {limit}"
        )


def summary(message: Any, recipients: Sequence[str]) -> dict[str, object]:
    """Return what operators see of a message: subject, sender and recipients."""
    return {
        "subject": _text(message.subject),
        "from": _sender(message),
        "to": [str(address) for address in recipients],
    }


def _builds_its_own(message: Any) -> bool:
    """Whether ``message()`` is another than ours or Django's, or its encoding no plain name."""
    if getattr(message, "mailqueue_class", None):
        return False  # its class is named, and builds it in the worker
    if not _BUILDING.isdisjoint(getattr(message, "__dict__", ())):
        return True
    kind: Any = type(message)
    return builder_of(kind) is None or not isinstance(message.encoding, str | None)


def _refuse_line_ends(message: Any) -> None:
    """Raise ValueError for any kind of line end in a header.

    Django's classes refuse LF and CR only, and parsers split headers at others too.
    """
    refuse_line_ends(str(message.subject), "Subject")
    for name, header in ADDRESS_LISTS.items():
        addresses = getattr(message, name, None)
        _refuse_text(name, addresses)
        # An iterator can be read only once, and not here.
        for address in addresses if isinstance(addresses, (list, tuple)) else ():
            refuse_line_ends(str(address), header)
    for name, value in (message.extra_headers or {}).items():
        refuse_line_ends(str(name), "name")
        refuse_line_ends(header_text(str(name), value), str(name))


def _is_built_only_here(message: Any, id_: str, threshold: int, *, utf8: bool) -> bool:
    """Whether our classes, which many a worker has to take, can't build what Django's can.

    Raises what a worker would raise as it writes the message, for whichever server.
    """
    # Building takes most of the producer's time. What is large can't be wrong, only slow.
    if is_sound(message, utf8=utf8):
        return False
    _refuse_line_ends(message)
    light = _without_weight(message, threshold)
    refuse_unwritable(light, id_, utf8=utf8)
    if isinstance(message, EmailMessage) or getattr(message, "mailqueue_class", None):
        return False
    if attached_messages(message):
        return False  # a worker parses what travels rendered; these are never parsed
    try:
        refuse_unwritable(as_ours(light), id_, utf8=utf8)
    except (ValueError, TypeError):
        return True
    return False


def _without_weight(message: Any, threshold: int) -> Any:
    """A copy whose large binary attachments are empty, to see whether the rest can be built."""
    light = in_texts(message, _sender(message))
    light.attachments = [
        (part[0], b"", part[2]) if _is_heavy(part, threshold) else part
        for part in message.attachments or ()
    ]
    return light


def _is_heavy(part: Any, threshold: int) -> bool:
    return isinstance(part, tuple) and isinstance(part[1], bytes) and len(part[1]) > threshold


def _complete_bytes(rendered: Message) -> bytes:
    """What a class has built as bytes, with what every attempt sends the same."""
    if "Message-ID" not in rendered:
        rendered["Message-ID"] = make_msgid()
    if "Date" not in rendered:
        rendered["Date"] = _date()
    try:
        refuse_injected_headers(rendered)
        return rendered.as_bytes()
    except BadHeaderError:
        raise
    except WRITING_ERRORS as error:
        raise PayloadError(
            f"what message() has built can't be written: {type(error).__name__}: {error}"
        ) from error


def _dump_own(
    message: Any, id_: str, recipients: Sequence[str], blobs: BlobCollector, *, utf8: bool
) -> dict[str, Any]:
    """A message as it was built here. Raises what a worker would raise."""
    _refuse_line_ends(message)
    whole = message if _builds_its_own(message) else in_texts(message, _sender(message))
    mime = _complete_bytes(build(whole))
    envelope = [str(address) for address in recipients]
    refuse_unwritable(as_rendered(EmailMessage(), mime, envelope), id_, utf8=utf8)
    return _dump_rendered(message, mime, envelope, blobs)


def _dump_rendered(
    message: Any, mime: bytes, envelope: Sequence[str], blobs: BlobCollector
) -> dict[str, Any]:
    class_: Any = type(message)
    return {
        "kind": "rendered",
        "family": family_name(class_),
        "subject": _text(message.subject),
        "from_email": first_sender(_sender(message)),  # the envelope's
        "recipients": envelope,
        "mime": in_base64(mime),
        **_beside(message, fields_in(mime, envelope), blobs),
        "attributes": dump_attributes(message),
    }


def _beside(message: Any, said: Mapping[str, Any], blobs: BlobCollector) -> dict[str, Any]:
    """Those fields of the message that its MIME doesn't say, or says in another way."""
    found: dict[str, Any] = {}
    for name, (attribute, dump) in _FIELDS.items():
        value = getattr(message, attribute, None)
        # An iterator was read when the message was built.
        if value is None or isinstance(value, Iterator) or is_left_behind(message, name):
            continue
        with suppress(TypeError, ValueError):  # then the MIME tells
            whole = BlobCollector(sys.maxsize)
            if dump(name, value, whole) != said.get(name, SHAPE.get(name)):
                found[name] = dump(name, value, blobs)
    return found


def _dump_fields(message: Any, blobs: BlobCollector) -> dict[str, Any]:
    class_: Any = type(message)
    found: dict[str, Any] = {
        "kind": kind_of(class_),
        "family": family_name(class_),
        # None is not nothing: for Anymail it is what the template says.
        "subject": None if message.subject is None else _text(message.subject),
        "from_email": None if message.from_email is None else str(message.from_email),
        **_completion(message),
    }
    # On others these are somebody's attribute, of which message() knows nothing.
    left_out = "alternatives" if found["kind"] == "EmailMessage" else ""
    for name, (attribute, dump) in _FIELDS.items():
        value = getattr(message, attribute, _NONE)
        if value is not _NONE and name != left_out:
            found[name] = dump(name, value, blobs)
    if getattr(message, "mailqueue_class", None):
        found["class"] = named_class(message)
    found["attributes"] = dump_attributes(message)
    return found


def _dump_addresses(name: str, value: Any, _: BlobCollector) -> list[str]:
    _refuse_text(name, value)
    return [str(address) for address in value if address] if value else []


def _refuse_text(name: str, value: Any) -> None:
    """Raise TypeError for a text in the place of a list of addresses: each letter would be one."""
    if isinstance(value, str) or is_lazy_text(value):
        raise TypeError(f'"{name}" attribute must be a list or other iterable of addresses')


def _dump_alternatives(_: str, value: Any, __: BlobCollector) -> list[Any]:
    return [dump_content(None, content, type_) for content, type_ in value or ()]


def _dump_attachments(_: str, value: Any, blobs: BlobCollector) -> list[Any]:
    return [dump_attachment(part, blobs) for part in value or ()]


def _dump_body(_: str, value: Any, __: BlobCollector) -> str:
    return _text(value)


def _text(value: Any) -> str:
    """Text of a message; None means the same as in the message's constructor."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode()
    return "" if value is None else str(value)


def _dump_word(name: str, value: Any, _: BlobCollector) -> str | None:
    """What ``message()`` takes as it is."""
    if not isinstance(value, str | None):
        kind = type(value).__name__
        raise PayloadError(f"the message's {name} can't be queued: it must be text, not {kind}")
    return value


def _sender(message: Any) -> str:
    return str(settings.DEFAULT_FROM_EMAIL if message.from_email is None else message.from_email)


def _dump_headers(_: str, headers: Any, __: BlobCollector) -> dict[str, Any]:
    """The extra headers as they were set: a number is one, since a mail service may want one."""
    found: dict[str, Any] = {}
    for name, value in (headers or {}).items():
        text = header_text(str(name), value)  # raises TypeError for what can't be a header
        found[str(name)] = to_json(value) if _is_number(value) or value is None else text
    return found


def _is_number(value: Any) -> bool:
    # JSON has no infinity.
    return isinstance(value, int | Decimal) or (isinstance(value, float) and isfinite(value))


def _completion(message: Any) -> dict[str, Any]:
    """What the message gets where it is written as MIME, unless it has its own."""
    added = {"Message-ID": make_msgid(), "Date": _date()}
    given = _sender(message)
    sender = first_sender(given)
    if sender != given:
        added |= {"From": given, "Sender": sender}  # RFC 5322, 3.6.2
    is_named = message.from_email is not None and sender == given
    return {"added": added} | ({} if is_named else {"sender": sender})


def _fresh(message: Any) -> set[str]:
    """The headers, in lower case, that the message gets each time that it is serialized."""
    names = {str(name).lower() for name in message.extra_headers or ()}
    return {*map(str.lower, _OWN_HEADERS)} - names


def _date() -> str:
    # Which time zone is the local one may change.
    return formatdate(localtime=True) if settings.EMAIL_USE_LOCALTIME else _utc(int(time.time()))


@lru_cache(maxsize=1)
def _utc(second: int) -> str:
    return format_datetime(datetime.fromtimestamp(second, UTC))  # +0000, as message() has it


# The attribute that each field is of, and what the field says of its value. Of a class that builds
# its messages, a field says what the MIME does where it has no form in JSON or is left behind.
_FIELDS: dict[str, tuple[str, Callable[[str, Any, BlobCollector], Any]]] = {
    "body": ("body", _dump_body),
    **{name: (name, _dump_addresses) for name in LISTS},
    "headers": ("extra_headers", _dump_headers),
    "encoding": ("encoding", _dump_word),
    **{name: (name, _dump_word) for name in SHAPE},
    "alternatives": ("alternatives", _dump_alternatives),
    "attachments": ("attachments", _dump_attachments),
}
