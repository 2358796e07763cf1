"""The class that a message is rebuilt with: the one that was named, else Django's, else ours."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from mailqueue.conf.lookup import django_settings
from mailqueue.errors import PayloadError
from mailqueue.mail.message import EmailMessage, EmailMultiAlternatives


def django_mail() -> ModuleType | None:
    """Django's mail package in a process where Django is configured."""
    return import_module("django.core.mail") if django_settings() is not None else None


def class_for(found: Mapping[str, Any], module: ModuleType | None) -> Any:
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
    named = import_class(found["class"])
    if not (isinstance(named, type) and issubclass(named, usual)):
        raise PayloadError(f"{found['class']!r} is no subclass of {usual.__qualname__}")
    return named


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
