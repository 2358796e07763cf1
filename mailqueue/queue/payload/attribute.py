"""The attributes that others hang on a message, such as Anymail's ``tags``: they travel by name."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from typing import Any

from mailqueue.conf import settings
from mailqueue.errors import PayloadError
from mailqueue.mail.rendering.shape import base_classes

from .kind import kind_of
from .value import to_json

# What a payload has fields for, and what the machinery of message classes accounts for; the rest of
# a message's attributes is what others hang on it.
_ACCOUNTED_FOR = {
    "subject", "body", "from_email", "to", "cc", "bcc", "reply_to", "extra_headers", "attachments",
    "alternatives", "encoding", "content_subtype", "mixed_subtype", "alternative_subtype",
    "connection", "mailqueue_id", "mailqueue_class", "message", "recipients",
}  # fmt: skip
# Whoever hangs these on a message needn't have them carried: what is private, and what Anymail
# reports after sending (``anymail_status``), not what it is told.
_PASSED_OVER = ("_", "anymail_")


def dump_attributes(message: Any) -> dict[str, Any]:
    """The attributes that others hung on the message, but for those that stay behind.

    Raises PayloadError that names all of them that have no form in JSON.
    """
    class_: Any = type(message)
    accounted = _accounted_for(class_)
    found: dict[str, Any] = {}
    unfit: dict[str, Exception] = {}
    own = getattr(message, "__dict__", {})
    for name, value in own.items():
        if name in accounted or name.startswith(_PASSED_OVER) or _is_unset(value):
            continue
        if is_left_behind(message, name):
            continue
        try:
            found[name] = _dump_attribute(value)
        except (TypeError, ValueError, RecursionError) as error:
            unfit[name] = error
    if unfit:
        raise _unfit(class_, unfit)
    # One that is marked as unset, or stays behind, hides what the class says.
    said = _class_attributes(message, accounted).items()
    return {name: value for name, value in said if name not in own} | found


def is_left_behind(message: Any, name: str) -> bool:
    """Whether LEAVE_BEHIND names that attribute for the message's class, or one of its bases."""
    named = settings.MAILQUEUE.LEAVE_BEHIND
    return bool(named) and any(name in named[path] for path in _paths(type(message), named))


def _paths(class_: type[Any], named: Iterable[str]) -> list[str]:
    """Those of the named paths that lead to the class or to a base of it."""
    return [path for path in named if path == "*" or any(_leads(path, c) for c in class_.__mro__)]


def _leads(path: str, class_: type[Any]) -> bool:
    """Whether the class is at that path, or can be imported from there."""
    module, _, name = path.rpartition(".")
    return path == _path(class_) or getattr(sys.modules.get(module), name, None) is class_


def _path(class_: type[Any]) -> str:
    return f"{class_.__module__}.{class_.__qualname__}"


def _unfit(class_: Any, unfit: dict[str, Exception]) -> PayloadError:
    names, path = sorted(unfit), _path(class_)
    reasons = "; ".join(f"the attribute {name!r} can't be queued: {unfit[name]}" for name in names)
    left = [*settings.MAILQUEUE.LEAVE_BEHIND.get(path, ()), *names]
    return PayloadError(
        f"{reasons}. Where the worker doesn't need what {path} has there, say so: "
        f"MAILQUEUE['LEAVE_BEHIND'] = {{{path!r}: {left!r}}}"
    )


@lru_cache(maxsize=256)
def _accounted_for(class_: Any) -> set[str]:
    if kind_of(class_) == "EmailMessage":
        return _ACCOUNTED_FOR - {"alternatives"}  # of which its message() knows nothing
    return _ACCOUNTED_FOR


def _dump_attribute(value: Any) -> Any:
    found = to_json(value)
    json.dumps(found, allow_nan=False)
    return found


def _is_unset(value: Any) -> bool:
    """Whether it is the class by which Anymail marks what nobody has set."""
    return isinstance(value, type) and value.__name__ == "UNSET"


def _class_attributes(message: Any, accounted: set[str]) -> dict[str, Any]:
    """What a subclass says for all of its messages (``tags = ["news"]``), as far as JSON has it."""
    found: dict[str, Any] = {}
    class_: Any = type(message)
    for parent in _others_classes(class_):
        for name, value in vars(parent).items():
            if name in accounted or name.startswith(_PASSED_OVER) or hasattr(value, "__get__"):
                continue
            with suppress(TypeError, ValueError, RecursionError):
                found[name] = _dump_attribute(value)
    return {name: value for name, value in found.items() if not is_left_behind(message, name)}


@lru_cache(maxsize=256)
def _others_classes(class_: Any) -> list[Any]:
    """The class and those that it derives from, the general first, but for ours and Django's."""
    known = [object, *base_classes()]
    return [parent for parent in reversed(class_.__mro__) if parent not in known]
