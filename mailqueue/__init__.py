"""Django's mail API for any Python program, delivered in the background by Celery."""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .conf import configure, settings
from .errors import BadHeaderError, InvalidMailer, MailerDoesNotExist
from .mail.functions import mail_admins, mail_managers, send_mail, send_mass_mail
from .mail.message import (
    EmailAlternative,
    EmailAttachment,
    EmailMessage,
    EmailMultiAlternatives,
)
from .mail.msgid import DNS_NAME, make_msgid
from .mail.routing import get_connection, mailers
from .state import State

if TYPE_CHECKING:
    from .mail.asynchronous import asend
    from .queue.fate import Fate, fate, fates

# The messages that the locmem backend took; it exists once such a backend has been made.
outbox: list[Any]

# ``outbox`` and ``SMTPConnection`` are not listed: ``from mailqueue import *`` would fail for the
# one and warn for the other.
__all__ = [
    "DNS_NAME",
    "BadHeaderError",
    "EmailAlternative",
    "EmailAttachment",
    "EmailMessage",
    "EmailMultiAlternatives",
    "Fate",
    "InvalidMailer",
    "MailerDoesNotExist",
    "State",
    "asend",
    "configure",
    "fate",
    "fates",
    "get_connection",
    "mail_admins",
    "mail_managers",
    "mailers",
    "make_msgid",
    "send_mail",
    "send_mass_mail",
    "settings",
]
# What is imported on first use: to compose a message takes neither a journal nor an event loop.
_LATER = {
    "Fate": "queue.fate",
    "asend": "mail.asynchronous",
    "fate": "queue.fate",
    "fates": "queue.fate",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    if name != "SMTPConnection":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(
        "SMTPConnection is deprecated. Use get_connection() instead.",
        DeprecationWarning,
        stacklevel=2,
    )
    return import_module(f"{__name__}.backends.smtp").EmailBackend
