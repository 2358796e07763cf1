"""A message as JSON: what the queue carries, format version 1 (``docs/payload.md``)."""

from __future__ import annotations

import hashlib
import sys
import time
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from email import message_from_bytes, policy
from email.message import Message
from email.utils import formatdate
from functools import lru_cache
from importlib import import_module
from types import ModuleType
from typing import Any

from mailqueue.conf import settings
from mailqueue.conf.lookup import django_settings
from mailqueue.errors import PayloadError
from mailqueue.mail.address import envelope_address, refuse_line_ends
from mailqueue.mail.header import header_text
from mailqueue.mail.message import (
    ADDRESS_LISTS,
    EmailAttachment,
    EmailMessage,
    EmailMultiAlternatives,
)
from mailqueue.mail.msgid import make_msgid
from mailqueue.mail.rendering.shape import builder_of
from mailqueue.mail.rendering.simple import is_sound

from .. import quickjson
from .attribute import dump_attributes
from .blob import Blob, BlobCollector
from .content import dump_attachment, dump_content, in_base64, load_attachment, load_content
from .value import from_json

VERSION = 1
_WORTH_COMPRESSING = 2048  # characters
# How a payload begins that isn't sealed, and where it says that it is compressed.
_PLAIN_START, _ZLIB_WITHIN = '{"v":', 80
_INFLATED_LIMIT = 1024**3  # bytes; a few kilobytes can be made to inflate to more than any memory
_LISTS = ("to", "cc", "bcc", "reply_to")
# What classes have unless somebody says otherwise; Django 6.1's have only the first of them.
_SHAPE = {
    "content_subtype": "plain",
    "mixed_subtype": "mixed",
    "alternative_subtype": "alternative",
}


class RenderedMessage:
    """A message that travelled as MIME, because its class builds it in a way of its own."""

    def __init__(self, content: bytes, from_email: str, recipients: Sequence[str]) -> None:
        self._content = content
        self.from_email = from_email
        self._recipients = list(recipients)

    def recipients(self) -> list[str]:
        """The addresses of the envelope."""
        return list(self._recipients)

    def message(self) -> Message:
        """The MIME message, parsed."""
        # Not folded anew: that would break a signature over the headers, such as DKIM's.
        return message_from_bytes(self._content, policy=policy.default.clone(refold_source="none"))


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
    text = _compress(text, id_)
    size = len(text.encode()) + sum(map(len, blobs.used.values()))
    limit = settings.MAILQUEUE.MAX_MESSAGE_SIZE
    if size > limit:
        raise PayloadError(
            f"the message takes {size} bytes in the queue, and "
            f"MAILQUEUE['MAX_MESSAGE_SIZE'] is {limit}"
        )
    return text


def loads(text: str, blob: Callable[[str], str | Blob] | None = None) -> Any:
    """Turn a payload into a message: Django's class where Django is configured, else ours.

    ``blob`` returns a large attachment by its name. Raises PayloadError for anything that isn't a
    payload of a known version, or that refers to an attachment that is gone.
    """
    try:
        found = parse(text)
        return _load_rendered(found) if found["kind"] == "rendered" else _load_fields(found, blob)
    except PayloadError:
        raise
    except KeyError as error:
        raise PayloadError(f"the payload has no field {error}") from error
    except (TypeError, ValueError, AttributeError, RecursionError, zlib.error) as error:
        raise PayloadError(f"the payload can't be read: {error}") from error


def parse(text: str) -> dict[str, Any]:
    """Return a payload's fields, decompressed. Raises PayloadError for another version."""
    found = quickjson.loads(text)
    if not isinstance(found, dict):
        raise PayloadError(f"the payload is a JSON {type(found).__name__}, not an object")
    if found.get("v") != VERSION:
        raise PayloadError(
            f"the payload has the format version {found.get('v')!r}; "
            f"this version of mailqueue reads {VERSION}"
        )
    if "zlib" not in found:
        return found
    inflater = zlib.decompressobj()
    inflated = inflater.decompress(b64decode(found["zlib"]), _INFLATED_LIMIT)
    if not inflater.eof:
        raise PayloadError("the payload is compressed and truncated, or larger than any message")
    inner: dict[str, Any] = quickjson.loads(inflated.decode())
    return inner


def _compress(text: str, id_: str) -> str:
    """The payload compressed, where that saves at least a third."""
    if len(text) < _WORTH_COMPRESSING:
        return text
    plain = text.encode("utf-8")
    packed = b64encode(zlib.compress(plain, 1)).decode("ascii")
    if len(packed) > len(plain) * 2 / 3:
        return text
    return quickjson.dumps({"v": VERSION, "id": id_, "zlib": packed})


def is_packed(text: str) -> bool:
    """Whether a payload is compressed, or sealed, so that it can't be made much smaller."""
    return not text.startswith(_PLAIN_START) or '"zlib":' in text[:_ZLIB_WITHIN]


def digest(text: str) -> str:
    """Return the payload's SHA-256, by which a worker knows that a task brought the right one."""
    return hashlib.sha256(text.encode()).hexdigest()


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
    for name in _LISTS:
        addresses = getattr(message, name)
        found[name] = [str(address) for address in addresses if address] if addresses else []
    for name in _SHAPE:
        if hasattr(message, name):
            found[name] = _word(message, name)
    if getattr(message, "mailqueue_class", None):
        found["class"] = _named_class(message)
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


def _named_class(message: Any) -> str:
    path = str(message.mailqueue_class)
    if _import_class(path) is not type(message):
        raise PayloadError(
            f"mailqueue_class = {path!r} does not lead to the message's class, "
            f"{type(message).__module__}.{type(message).__qualname__}"
        )
    return path


def _import_class(path: str) -> Any:
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise PayloadError(f"there is no message class at {path!r}: {error}") from error


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
    return formatdate(second)


def _load_rendered(found: Mapping[str, Any]) -> RenderedMessage:
    message = RenderedMessage(b64decode(found["mime"]), found["from_email"], found["recipients"])
    # Payloads of before have none.
    for name, value in found.get("attributes", {}).items():
        if not hasattr(message, name):  # its envelope and its content are what was built
            setattr(message, name, from_json(value))
    return message


def _check_types(found: Mapping[str, Any]) -> None:
    texts = [found["subject"], found["body"], found["from_email"]]
    texts += [text for name in _LISTS for text in found[name]]
    texts += [text for header in found["headers"].items() for text in header]
    for text in texts:
        if not isinstance(text, str):
            raise PayloadError(f"the payload has {text!r} where there must be text")


def _load_fields(found: Mapping[str, Any], blob: Callable[[str], str | Blob] | None) -> Any:
    _check_types(found)
    module = _django_mail()
    class_ = _class_for(found, module)
    lists = {name: found[name] for name in _LISTS}
    message = class_(
        subject=found["subject"],
        body=found["body"],
        from_email=found["from_email"],
        headers=found["headers"],
        **lists,
    )
    message.from_email = found["from_email"]  # the constructor takes "" for the default
    message.encoding = found["encoding"]
    for name, usual in _SHAPE.items():
        if found.get(name, usual) != getattr(message, name, usual):
            setattr(message, name, found[name])
    # Django's class since 5.2; a plain tuple before.
    attachment = getattr(module, "EmailAttachment", tuple) if module else EmailAttachment
    message.attachments = [load_attachment(part, attachment, blob) for part in found["attachments"]]
    if "alternatives" in found:
        message.alternatives = []
        for part in found["alternatives"]:
            message.attach_alternative(load_content(part), part["mimetype"])
    for name, value in found["attributes"].items():
        setattr(message, name, from_json(value))
    message.mailqueue_id = found["id"]
    return message


def _class_for(found: Mapping[str, Any], module: ModuleType | None) -> Any:
    """The class to rebuild a message with: the one that was named, else Django's, else ours."""
    classes: dict[str, Any] = {
        "EmailMessage": module.EmailMessage if module else EmailMessage,
        "EmailMultiAlternatives": module.EmailMultiAlternatives
        if module
        else EmailMultiAlternatives,
    }
    if found["kind"] not in classes:
        raise PayloadError(f"the payload is of the unknown kind {found['kind']!r}")
    usual = classes[found["kind"]]
    if "class" not in found:
        return usual
    named = _import_class(found["class"])
    if not (isinstance(named, type) and issubclass(named, usual)):
        raise PayloadError(f"{found['class']!r} is no subclass of {usual.__qualname__}")
    return named


def _django_mail() -> ModuleType | None:
    """Django's mail package in a process where Django is configured."""
    return import_module("django.core.mail") if django_settings() is not None else None
