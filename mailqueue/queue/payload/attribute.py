"""The attributes that others hang on a message, such as Anymail's ``tags``: they travel by name."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import lru_cache
from typing import Any

from mailqueue.errors import PayloadError
from mailqueue.mail.rendering.shape import base_classes

from .value import to_json

# What a payload has fields for, and what the machinery of message classes accounts for; the rest of
# a message's attributes is what others hang on it.
_ACCOUNTED_FOR = {
    "subject", "body", "from_email", "to", "cc", "bcc", "reply_to", "extra_headers", "attachments",
    "alternatives", "encoding", "content_subtype", "mixed_subtype", "alternative_subtype",
    "connection", "mailqueue_id", "mailqueue_class",
    "anymail_status",  # what Anymail reports after sending, not what it is told
}  # fmt: skip


def dump_attributes(message: Any, *, strict: bool = True) -> dict[str, Any]:
    """The attributes that others hung on the message; ``strict`` refuses what can't be carried."""
    found = {}
    for name, value in getattr(message, "__dict__", {}).items():
        if name in _ACCOUNTED_FOR or name.startswith("_") or _is_unset(value):
            continue
        try:
            found[name] = _dump_attribute(value)
        except (TypeError, ValueError, RecursionError) as error:
            if strict:
                raise PayloadError(f"the attribute {name!r} can't be queued: {error}") from error
    return _class_attributes(type(message)) | found


def _dump_attribute(value: Any) -> Any:
    found = to_json(value)
    json.dumps(found, allow_nan=False)
    return found


def _is_unset(value: Any) -> bool:
    """Whether it is the class by which Anymail marks what nobody has set."""
    return isinstance(value, type) and value.__name__ == "UNSET"


def _class_attributes(class_: Any) -> dict[str, Any]:
    """What a subclass says for all of its messages (``tags = ["news"]``), as far as JSON has it."""
    found: dict[str, Any] = {}
    for parent in _others_classes(class_):
        for name, value in vars(parent).items():
            if name in _ACCOUNTED_FOR or name.startswith("_") or hasattr(value, "__get__"):
                continue
            with suppress(TypeError, ValueError, RecursionError):
                found[name] = _dump_attribute(value)
    return found


@lru_cache(maxsize=256)
def _others_classes(class_: Any) -> list[Any]:
    """The class and those that it derives from, the general first, but for ours and Django's."""
    known = [object, *base_classes()]
    return [parent for parent in reversed(class_.__mro__) if parent not in known]
