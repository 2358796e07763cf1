"""What can be set: every setting once, with its default and how its value is read."""

from __future__ import annotations

from typing import Any

from .lookup import MailSection, QueueSection
from .parse import (
    one_of,
    parse_absolute_path,
    parse_boolean,
    parse_duration,
    parse_host,
    parse_integer,
    parse_leave_behind,
    parse_mailers,
    parse_name,
    parse_oauth2,
    parse_optional_seconds,
    parse_optional_text,
    parse_options,
    parse_path,
    parse_positive,
    parse_schedule,
    parse_seconds_above_zero,
    parse_secret,
    parse_secrets,
    parse_size,
    parse_text,
    people_in,
)
from .setting import Setting
from .url import parse_url


class QueueSettings(QueueSection):
    """The keys of ``MAILQUEUE``; ``docs/settings.md`` explains each."""

    BROKER_URL = Setting("", parse_url, secret=True)
    JOURNAL_URL = Setting("", parse_url, secret=True)
    BACKEND = Setting("mailqueue.backends.smtp.EmailBackend", parse_text)
    USING = Setting(None, parse_optional_text)
    CELERY_APP = Setting("", parse_text)
    QUEUE = Setting("mailqueue", parse_name)
    BATCH_SIZE = Setting(250, parse_positive)
    INLINE_LIMIT = Setting(0, parse_size)
    BLOB_THRESHOLD = Setting(32 * 1024, parse_size)
    MAX_MESSAGE_SIZE = Setting(25 * 1024**2, parse_size)
    RETRY = Setting(parse_schedule("1m, 5m, 15m, 1h*4, 4h*10"), parse_schedule)
    MAX_AGE = Setting(parse_duration("5d"), parse_seconds_above_zero)
    LEASE = Setting(60.0, parse_seconds_above_zero)
    ENQUEUE_TIMEOUT = Setting(2.0, parse_seconds_above_zero)
    BROKER_PATIENCE = Setting(5.0, parse_seconds_above_zero)
    ON_OUTAGE = Setting("raise", one_of("raise", "spool", "send"))
    SPOOL_DIR = Setting[str | None](None, parse_absolute_path)
    IN_DOUBT = Setting("retry", one_of("retry", "hold"))
    DURABILITY = Setting("default", one_of("default", "fsync"))
    KEEP_SENT = Setting(parse_duration("7d"), parse_duration)
    KEEP_FAILED = Setting(parse_duration("90d"), parse_duration)
    CONNECTION_MAX_MESSAGES = Setting(1000, parse_positive)
    CONNECTION_MAX_AGE = Setting(600.0, parse_seconds_above_zero)
    IN_FLIGHT = Setting(1, parse_positive)
    CHUNKING = Setting(True, parse_boolean)
    EHLO_NAME = Setting("", parse_host)
    CONNECTION_IDLE = Setting(30.0, parse_seconds_above_zero)
    LEAVE_BEHIND = Setting[dict[str, list[str]]]({}, parse_leave_behind)
    SECRET_KEYS = Setting[list[str]]([], parse_secrets, secret=True)


class Settings(MailSection):
    """Django's mail settings, by Django's names and defaults, and ``MAILQUEUE``.

    Every access looks the value up anew, so that overriding settings in a test just works; only
    names that don't exist are looked for in the environment once. The
    sources, in this order: Django's settings when Django is configured (then the settings that are
    Django's own come from nowhere else), ``configure()``, the environment. None is the default:
    projects write it for what they don't use.
    """

    MAILQUEUE: QueueSettings

    EMAIL_BACKEND = Setting("mailqueue.backends.smtp.EmailBackend", parse_text)
    EMAIL_HOST = Setting("localhost", parse_text)
    EMAIL_PORT = Setting(25, parse_integer)
    EMAIL_HOST_USER = Setting("", parse_text)
    EMAIL_HOST_PASSWORD = Setting("", parse_secret, secret=True)
    EMAIL_OAUTH2 = Setting[str | None](None, parse_oauth2)
    EMAIL_OAUTH2_OPTIONS = Setting[dict[str, Any]]({}, parse_options, secret=True)
    EMAIL_USE_TLS = Setting(False, parse_boolean)
    EMAIL_USE_SSL = Setting(False, parse_boolean)
    EMAIL_TIMEOUT = Setting[float | None](None, parse_optional_seconds)
    EMAIL_SSL_KEYFILE = Setting[str | None](None, parse_path)
    EMAIL_SSL_CERTFILE = Setting[str | None](None, parse_path)
    EMAIL_FILE_PATH = Setting[str | None](None, parse_path)
    EMAIL_SUBJECT_PREFIX = Setting("[Django] ", parse_text)
    EMAIL_USE_LOCALTIME = Setting(False, parse_boolean)
    DEFAULT_FROM_EMAIL = Setting("webmaster@localhost", parse_text)
    SERVER_EMAIL = Setting("root@localhost", parse_text)
    ADMINS = Setting[list[Any]]([], people_in("ADMINS"))
    MANAGERS = Setting[list[Any]]([], people_in("MANAGERS"))
    DEFAULT_CHARSET = Setting("utf-8", parse_text)
    MAILERS = Setting[dict[str, Any]]({}, parse_mailers, secret=True)

    def __init__(self) -> None:
        super().__init__()
        self.MAILQUEUE = QueueSettings(self)


settings = Settings()
configure = settings.configure
