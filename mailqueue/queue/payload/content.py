"""The contents of a message in JSON: its attachments and its alternatives."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from email.message import Message
from typing import Any

from mailqueue.errors import PayloadError
from mailqueue.mail.text import is_lazy_text

from .blob import Blob, BlobCollector
from .part import dump_part, load_part

# The fields that hold a content, of which each has exactly one.
_FORMS = ("base64", "text", "message", "part")


def dump_attachment(part: Any, blobs: BlobCollector) -> dict[str, Any]:
    """Turn an attachment (a triple or a MIME part) into JSON; what is large goes to ``blobs``."""
    if isinstance(part, Message):
        return _without_large({"part": dump_part(part)}, part, blobs)
    filename, content, mimetype = part
    if isinstance(content, bytes) and len(content) > blobs.threshold:
        named = {"filename": _text(filename), "mimetype": _text(mimetype), "form": "base64"}
        return named | {"blob": blobs.put(content, lambda: in_base64(content))}
    return _without_large(dump_content(filename, content, mimetype), content, blobs)


def _without_large(found: dict[str, Any], original: object, blobs: BlobCollector) -> dict[str, Any]:
    """Move an attachment's content to the blobs, where it is large enough."""
    form = next(form for form in _FORMS if form in found)
    content = found[form] if isinstance(found[form], str) else json.dumps(found[form])
    if len(content) <= blobs.threshold:
        return found
    del found[form]
    return found | {"form": form, "blob": blobs.put(original, lambda: content)}


def dump_content(filename: Any, content: Any, mimetype: Any) -> dict[str, Any]:
    """Turn a content with its name and type into JSON. Raises PayloadError if it has no form."""
    found: dict[str, Any] = {
        "filename": _text(filename),
        "mimetype": _text(mimetype),
    }
    if isinstance(content, (bytes, bytearray, memoryview)):
        return found | {"base64": in_base64(bytes(content))}
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


def in_base64(content: bytes) -> str:
    """Bytes as JSON carries them."""
    return b64encode(content).decode("ascii")


def _with_large(
    part: Mapping[str, Any], blob: Callable[[str], str | Blob] | None
) -> Mapping[str, Any]:
    """Put an attachment's content back from the blobs."""
    if "blob" not in part:
        return part
    if blob is None:
        raise PayloadError(f"there is no attachment with the SHA-256 {part['blob']}")
    form = part["form"]
    found = blob(part["blob"])
    return {**part, form: _in_form(Blob(found) if isinstance(found, str) else found, form)}


def _in_form(content: Blob, form: str) -> Any:
    if form == "text":
        return content.text
    return content.data if form == "base64" else content.json


def load_attachment(
    part: Mapping[str, Any], triple: Any, blob: Callable[[str], str | Blob] | None
) -> Any:
    """Turn what ``dump_attachment`` made into a MIME part, or into a ``triple``."""
    part = _with_large(part, blob)
    if "part" in part:
        return load_part(part["part"])
    return _made(triple, part["filename"], load_content(part), part["mimetype"])


def load_alternative(part: Mapping[str, Any], pair: Any) -> Any:
    """Turn a version of the body into a ``pair`` of its content and its type."""
    return _made(pair, load_content(part), part["mimetype"])


def _made(class_: Any, *values: Any) -> Any:
    return values if class_ is tuple else class_(*values)


def load_content(part: Mapping[str, Any]) -> Any:
    """Turn what ``dump_content`` made into the content: text, bytes or a message."""
    if "text" in part:
        return part["text"]
    if "base64" in part:
        found = part["base64"]
        return found if isinstance(found, bytes) else b64decode(found)
    return load_part(part["message"])
