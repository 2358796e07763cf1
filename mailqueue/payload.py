"""A message as JSON: what the queue carries, format version 1 (``docs/payload.md``)."""

from __future__ import annotations

import hashlib
import json
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from email import message_from_bytes, policy
from email.message import Message
from email.utils import formatdate
from importlib import import_module
from types import ModuleType
from typing import Any

from .addresses import envelope_address
from .blobs import BlobCollector
from .conf import django_settings, settings
from .errors import PayloadError
from .message import EmailAttachment, EmailMessage, EmailMultiAlternatives, make_msgid
from .mimepart import dump_part, load_part
from .values import from_json, is_lazy_text, to_json

VERSION = 1
_FORMS = ("base64", "text", "message", "part")
_LISTS = ("to", "cc", "bcc", "reply_to")
_SHAPE = ("content_subtype", "mixed_subtype", "alternative_subtype")
# What the fields above and the machinery of message classes account for; the rest of a message's
# attributes is what others hang on it, and travels by name.
_ACCOUNTED_FOR = {
    "subject", "body", "from_email", "extra_headers", "attachments", "alternatives", "encoding",
    "connection", "mailqueue_id", *_LISTS, *_SHAPE,
}  # fmt: skip


class RenderedMessage:
    """A message that travelled as MIME, because its class builds it in a way of its own."""

    def __init__(self, content: bytes, from_email: str, recipients: Sequence[str]) -> None:
        self.content = content
        self.from_email = from_email
        self._recipients = list(recipients)

    def recipients(self) -> list[str]:
        """The addresses of the envelope."""
        return list(self._recipients)

    def message(self) -> Message:
        """The MIME message, parsed."""
        return message_from_bytes(self.content, policy=policy.default)


def dumps(message: Any, id_: str, blobs: BlobCollector | None = None) -> str:
    """Turn a message of ours or of Django's into a payload; large attachments go to ``blobs``.

    Message-ID and Date are fixed here, so that every attempt sends the same ones. Raises ValueError
    for a newline in a header or an address, and PayloadError (a ValueError too) for what can't be
    carried, naming it.
    """
    blobs = blobs if blobs is not None else BlobCollector(sys.maxsize)
    blobs.used = {}
    own = _builds_its_own(message)
    # Bad headers are an error now, not in a worker. What is large can't be wrong, only slow.
    rendered = (message if own else _without_weight(message, blobs.threshold)).message()
    for address in message.recipients():
        envelope_address(address)
    found = _dump_rendered(message, rendered) if own else _dump_fields(message, blobs)
    try:
        text = json.dumps({"v": VERSION, "id": id_} | found, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise PayloadError(f"the message can't be queued: {error}") from error
    size = len(text) + sum(map(len, blobs.used.values()))
    limit = settings.MAILQUEUE.MAX_MESSAGE_SIZE
    if size > limit:
        raise PayloadError(
            f"the message takes {size} bytes in the queue, and "
            f"MAILQUEUE['MAX_MESSAGE_SIZE'] is {limit}"
        )
    return text


def loads(text: str, blob: Callable[[str], str] | None = None) -> Any:
    """Turn a payload into a message: Django's class where Django is configured, else ours.

    ``blob`` returns a large attachment by its name. Raises PayloadError for anything that isn't a
    payload of a known version, or that refers to an attachment that is gone.
    """
    try:
        found = json.loads(text)
        if not isinstance(found, dict):
            raise PayloadError(f"the payload is a JSON {type(found).__name__}, not an object")
        if found.get("v") != VERSION:
            raise PayloadError(
                f"the payload has the format version {found.get('v')!r}; "
                f"this version of mailqueue reads {VERSION}"
            )
        return _load_rendered(found) if found["kind"] == "rendered" else _load_fields(found, blob)
    except PayloadError:
        raise
    except KeyError as error:
        raise PayloadError(f"the payload has no field {error}") from error
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise PayloadError(f"the payload can't be read: {error}") from error


def digest(text: str) -> str:
    """Return the payload's SHA-256, by which a worker knows that a task brought the right one."""
    return hashlib.sha256(text.encode()).hexdigest()


def summary(message: Any) -> dict[str, object]:
    """Return what operators see of a message: subject, sender and recipients."""
    return {
        "subject": str(message.subject),
        "from": str(message.from_email),
        "to": [str(address) for address in message.recipients()],
    }


def _builds_its_own(message: Any) -> bool:
    """Whether the message's class overrides ``message()``, or its encoding is no plain name."""
    known = [EmailMessage.message]
    django = _django_mail()
    if django is not None:
        known.append(django.EmailMessage.message)
    own = type(message).message not in known and type(message).__name__ != "RenderedMessage"
    return own or not isinstance(message.encoding, str | None)


def _without_weight(message: Any, threshold: int) -> Any:
    """A copy whose large binary attachments are empty, to see whether the rest can be built."""
    light = copy(message)
    light.attachments = [
        (part[0], b"", part[2]) if _is_heavy(part, threshold) else part
        for part in message.attachments
    ]
    return light


def _is_heavy(part: Any, threshold: int) -> bool:
    return isinstance(part, tuple) and isinstance(part[1], bytes) and len(part[1]) > threshold


def _dump_rendered(message: Any, rendered: Message) -> dict[str, Any]:
    if "Message-ID" not in rendered:
        rendered["Message-ID"] = make_msgid()
    if "Date" not in rendered:
        rendered["Date"] = _date()
    return {
        "kind": "rendered",
        "subject": str(message.subject),
        "from_email": str(message.from_email),
        "recipients": [str(address) for address in message.recipients()],
        "mime": _base64(rendered.as_bytes()),
    }


def _dump_fields(message: Any, blobs: BlobCollector) -> dict[str, Any]:
    multiple = hasattr(message, "alternatives")
    found: dict[str, Any] = {
        "kind": "EmailMultiAlternatives" if multiple else "EmailMessage",
        "subject": str(message.subject),
        "body": str(message.body),
        "from_email": str(message.from_email),
        "headers": _dump_headers(message.extra_headers),
        "encoding": message.encoding,
        "attachments": [_dump_attachment(part, blobs) for part in message.attachments],
    }
    found |= {name: [str(a) for a in getattr(message, name)] for name in _LISTS}
    found |= {name: getattr(message, name) for name in _SHAPE if hasattr(message, name)}
    if multiple:
        found["alternatives"] = [_dump_content(None, c, m) for c, m in message.alternatives]
    found["attributes"] = _dump_attributes(message)
    return found


def _dump_headers(headers: Mapping[str, Any]) -> dict[str, str]:
    found = {str(name): str(value) for name, value in headers.items()}
    names = {name.lower() for name in found}
    if "message-id" not in names:
        found["Message-ID"] = make_msgid()
    if "date" not in names:
        found["Date"] = _date()
    return found


def _date() -> str:
    return formatdate(localtime=settings.EMAIL_USE_LOCALTIME)


def _dump_attributes(message: Any) -> dict[str, Any]:
    found = {}
    for name, value in vars(message).items():
        if name in _ACCOUNTED_FOR or name.startswith("_"):
            continue
        try:
            found[name] = to_json(value)
            json.dumps(found[name], allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise PayloadError(f"the attribute {name!r} can't be queued: {error}") from error
    return found


def _dump_attachment(part: Any, blobs: BlobCollector) -> dict[str, Any]:
    if isinstance(part, Message):
        return _without_large({"part": dump_part(part)}, part, blobs)
    filename, content, mimetype = part
    if isinstance(content, bytes) and len(content) > blobs.threshold:
        named = {"filename": _text(filename), "mimetype": _text(mimetype), "form": "base64"}
        return named | {"blob": blobs.put(content, lambda: _base64(content))}
    return _without_large(_dump_content(filename, content, mimetype), content, blobs)


def _without_large(found: dict[str, Any], original: object, blobs: BlobCollector) -> dict[str, Any]:
    """Move an attachment's content to the blobs, where it is large enough."""
    form = next(form for form in _FORMS if form in found)
    content = found[form] if isinstance(found[form], str) else json.dumps(found[form])
    if len(content) <= blobs.threshold:
        return found
    del found[form]
    return found | {"form": form, "blob": blobs.put(original, lambda: content)}


def _dump_content(filename: Any, content: Any, mimetype: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "filename": _text(filename),
        "mimetype": _text(mimetype),
    }
    if isinstance(content, (bytes, bytearray, memoryview)):
        return found | {"base64": _base64(bytes(content))}
    if isinstance(content, Message):
        return found | {"message": dump_part(content)}
    if hasattr(content, "message"):
        return found | {"message": dump_part(content.message())}
    if isinstance(content, str) or is_lazy_text(content):
        return found | {"text": str(content)}
    raise PayloadError(
        f"the attachment {found['filename']!r} can't be queued: "
        f"its content is a {type(content).__name__}, not a string or bytes"
    )


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _base64(content: bytes) -> str:
    return b64encode(content).decode("ascii")


def _load_rendered(found: Mapping[str, Any]) -> RenderedMessage:
    return RenderedMessage(b64decode(found["mime"]), found["from_email"], found["recipients"])


def _load_fields(found: Mapping[str, Any], blob: Callable[[str], str] | None) -> Any:
    module = _django_mail()
    classes: dict[str, Any] = {
        "EmailMessage": module.EmailMessage if module else EmailMessage,
        "EmailMultiAlternatives": module.EmailMultiAlternatives
        if module
        else EmailMultiAlternatives,
    }
    if found["kind"] not in classes:
        raise PayloadError(f"the payload is of the unknown kind {found['kind']!r}")
    lists = {name: found[name] for name in _LISTS}
    message = classes[found["kind"]](
        subject=found["subject"],
        body=found["body"],
        from_email=found["from_email"],
        headers=found["headers"],
        **lists,
    )
    message.encoding = found["encoding"]
    for name in _SHAPE:
        if name in found:
            setattr(message, name, found[name])
    # Django's class since 5.2; a plain tuple before.
    attachment = getattr(module, "EmailAttachment", tuple) if module else EmailAttachment
    message.attachments = [
        _load_attachment(_with_large(part, blob), attachment) for part in found["attachments"]
    ]
    if "alternatives" in found:
        message.alternatives = []
        for part in found["alternatives"]:
            message.attach_alternative(_load_content(part), part["mimetype"])
    for name, value in found["attributes"].items():
        setattr(message, name, from_json(value))
    message.mailqueue_id = found["id"]
    return message


def _with_large(part: Mapping[str, Any], blob: Callable[[str], str] | None) -> Mapping[str, Any]:
    """Put an attachment's content back from the blobs."""
    if "blob" not in part:
        return part
    if blob is None:
        raise PayloadError(f"there is no attachment with the SHA-256 {part['blob']}")
    content, form = blob(part["blob"]), part["form"]
    return {**part, form: content if form in ("base64", "text") else json.loads(content)}


def _load_attachment(part: Mapping[str, Any], triple: Any) -> Any:
    if "part" in part:
        return load_part(part["part"])
    values = (part["filename"], _load_content(part), part["mimetype"])
    return values if triple is tuple else triple(*values)


def _load_content(part: Mapping[str, Any]) -> Any:
    if "text" in part:
        return part["text"]
    if "base64" in part:
        return b64decode(part["base64"])
    return load_part(part["message"])


def _django_mail() -> ModuleType | None:
    """Django's mail package in a process where Django is configured."""
    return import_module("django.core.mail") if django_settings() is not None else None
