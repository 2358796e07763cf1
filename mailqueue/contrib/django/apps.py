"""The Django app: put ``mailqueue.contrib.django`` into ``INSTALLED_APPS``."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.checks import register

from .checks import check_mail_settings
from .reports import hide_urls


class MailqueueConfig(AppConfig):  # type: ignore[misc]  # Django ships no types
    """Adds mailqueue's system checks to the project's, and keeps its URLs out of error reports."""

    name = "mailqueue.contrib.django"
    label = "mailqueue"
    verbose_name = "Mail queue"

    def ready(self) -> None:
        register(check_mail_settings)
        hide_urls()
