"""Which journal a report speaks of, and where the settings came from that say so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mailqueue.conf import settings
from mailqueue.conf.lookup import django_settings, home
from mailqueue.conf.server import journal_url, redact, uses_embedded_server
from mailqueue.conf.setting import read_variable
from mailqueue.errors import ImproperlyConfigured
from mailqueue.queue.broker import broker_name


def subject() -> dict[str, Any]:
    """Name journal, broker, queue and settings; addresses have no password in them.

    ``journal`` and ``broker`` are None where the settings can't say. ``home`` is that of the
    embedded server, None where none is used.
    """
    return {
        "journal": _said(lambda: redact(journal_url())),
        "broker": _said(broker_name),
        "queue": _said(lambda: settings.MAILQUEUE.QUEUE),
        "home": _said(lambda: str(home()) if uses_embedded_server() else None),
        "settings": _settings(),
    }


def _said(look: Callable[[], str | None]) -> str | None:
    try:
        return look()
    except ImproperlyConfigured:
        return None


def _settings() -> str:
    module = read_variable("DJANGO_SETTINGS_MODULE")
    if module:
        return f"Django's, by DJANGO_SETTINGS_MODULE={module}"
    if django_settings() is not None:
        return "Django's, by settings.configure()"
    code = "configure() and " if settings.is_configured else ""
    return f"{code}the environment; DJANGO_SETTINGS_MODULE isn't set"
