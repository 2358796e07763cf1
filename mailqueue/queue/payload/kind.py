"""Whose class a message is of, and the class that a worker rebuilds it with."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from typing import Any, NamedTuple

from mailqueue.conf.lookup import django_settings
from mailqueue.errors import PayloadError
from mailqueue.mail.message import (
    EmailAlternative,
    EmailAttachment,
    EmailMessage,
    EmailMultiAlternatives,
)
from mailqueue.mail.rendering.shape import base_of

# What classes have unless somebody says otherwise; Django's have only the first since 6.0.
SHAPE = {
    "content_subtype": "plain",
    "mixed_subtype": "mixed",
    "alternative_subtype": "alternative",
}
_OURS = "mailqueue"
# Since then Django builds messages with Python's newer API: it takes parts of that, and refuses
# another kind of multipart.
_NEW_DJANGO = (6, 0)
_FAMILY = re.compile(r"django (\d+)\.(\d+)")


class Family(NamedTuple):
    """The classes of one mail API: ours, or that of the Django at hand."""

    messages: Mapping[str, Any]
    attachment: Any
    alternative: Any


_OUR_FAMILY = Family(
    {"EmailMessage": EmailMessage, "EmailMultiAlternatives": EmailMultiAlternatives},
    EmailAttachment,
    EmailAlternative,
)


@lru_cache(maxsize=256)
def family_name(class_: Any) -> str:
    """Whose class it is: ``mailqueue``, or ``django`` with its version, such as ``django 6.1``."""
    base = base_of(class_)
    if base is None or base in _OUR_FAMILY.messages.values():
        return _OURS
    major, minor = sys.modules["django"].VERSION[:2]
    return f"django {major}.{minor}"


@lru_cache(maxsize=256)
def kind_of(class_: Any) -> str:
    """The name of the class of ours or of Django's that it derives from."""
    base = base_of(class_)
    return "EmailMessage" if base is None else base.__name__


def class_for(found: Mapping[str, Any]) -> tuple[Any, Family]:
    """The class to rebuild a message with, and the family that it belongs to.

    That is the class that was named; else the producer's family's, where it is at hand and can
    build the message; else ours, which can build all that either can.
    """
    kind = found["kind"]
    if kind not in _OUR_FAMILY.messages:
        raise PayloadError(f"the payload is of the unknown kind {kind!r}")
    django = _django_family()
    if "class" in found:
        return _named(found["class"], kind, [_OUR_FAMILY, *([django] if django else [])])
    family = django if django and _fits_django(found) else _OUR_FAMILY
    return family.messages[kind], family


def as_ours(message: Any) -> Any:
    """The message as one of our own classes, as a worker without Django has it."""
    class_: Any = type(message)
    ours = _OUR_FAMILY.messages[kind_of(class_)]()
    for name in (*vars(ours), *SHAPE, "encoding"):
        # A connection is nothing that travels, and Django 6.1 warns whoever looks at it.
        if name != "connection" and hasattr(message, name):
            setattr(ours, name, getattr(message, name))
    return ours


def _django_family() -> Family | None:
    """Django's classes in a process where Django is configured."""
    if django_settings() is None:
        return None
    mail = import_module("django.core.mail")
    # Of before 5.2 both are plain tuples.
    extras = (getattr(mail, name, tuple) for name in ("EmailAttachment", "EmailAlternative"))
    return Family({name: getattr(mail, name) for name in _OUR_FAMILY.messages}, *extras)


def _fits_django(found: Mapping[str, Any]) -> bool:
    """Whether the Django at hand builds the message that the producer's would have built."""
    family = found.get("family")  # payloads of before have none, and were rebuilt as Django's
    if family == _OURS:
        return False
    version = _FAMILY.fullmatch(family or "django 4.2")
    if version is None:
        raise PayloadError(f"the payload is of the unknown family {family!r}")
    if sys.modules["django"].VERSION >= _NEW_DJANGO:
        subtypes = ("mixed_subtype", "alternative_subtype")
        return all(found.get(name, SHAPE[name]) == SHAPE[name] for name in subtypes)
    return (int(version[1]), int(version[2])) < _NEW_DJANGO


def _named(path: str, kind: str, families: list[Family]) -> tuple[Any, Family]:
    named = import_class(path)
    for family in families:
        if isinstance(named, type) and issubclass(named, family.messages[kind]):
            return named, family
    homes = " or ".join(f"{f.messages[kind].__module__}.{kind}" for f in families)
    raise PayloadError(f"{path!r} is no subclass of {homes}")


def named_class(message: Any) -> str:
    """Return the path in ``mailqueue_class``. Raises PayloadError if another class is there."""
    path = str(message.mailqueue_class)
    if import_class(path) is not type(message):
        raise PayloadError(
            f"mailqueue_class = {path!r} does not lead to the message's class, "
            f"{type(message).__module__}.{type(message).__qualname__}"
        )
    return path


def import_class(path: str) -> Any:
    """Import a class by its path. Raises PayloadError if there is none."""
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise PayloadError(f"there is no message class at {path!r}: {error}") from error
