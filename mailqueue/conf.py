"""Settings: from Django when it is configured, from ``configure()``, or from the environment."""

from __future__ import annotations

import marshal
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from .errors import ImproperlyConfigured
from .notation import (
    EnvironmentText,
    one_of,
    parse_boolean,
    parse_duration,
    parse_integer,
    parse_mailers,
    parse_name,
    parse_optional_seconds,
    parse_optional_text,
    parse_path,
    parse_positive,
    parse_schedule,
    parse_seconds_above_zero,
    parse_secrets,
    parse_size,
    parse_text,
    people_in,
)
from .setting import (
    MISSING,
    Block,
    Section,
    Setting,
    Steady,
    current_environment,
    fingerprint_of,
    read_variable,
    steady_block,
)

T = TypeVar("T")
_ENVIRONMENT_PREFIX = "MAILQUEUE_"
# The file descriptor whose closing tells a worker that `mailqueue up` has ended.
LIFELINE = "MAILQUEUE_LIFELINE"
# Variables of ours that are no settings.
_OTHER_VARIABLES = {"MAILQUEUE_HOME", "MAILQUEUE_FAULT", LIFELINE}


class QueueSettings(Section):
    """The keys of ``MAILQUEUE``; ``docs/settings.md`` explains each."""

    kind = "queue"
    BROKER_URL = Setting("", parse_text, secret=True)
    JOURNAL_URL = Setting("", parse_text, secret=True)
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
    ON_OUTAGE = Setting("raise", one_of("raise", "spool", "send"))
    SPOOL_DIR = Setting[str | None](None, parse_path)
    IN_DOUBT = Setting("retry", one_of("retry", "hold"))
    DURABILITY = Setting("default", one_of("default", "fsync"))
    KEEP_SENT = Setting(parse_duration("7d"), parse_duration)
    KEEP_FAILED = Setting(parse_duration("90d"), parse_duration)
    CONNECTION_MAX_MESSAGES = Setting(1000, parse_positive)
    CONNECTION_MAX_AGE = Setting(600.0, parse_seconds_above_zero)
    IN_FLIGHT = Setting(1, parse_positive)
    CONNECTION_IDLE = Setting(30.0, parse_seconds_above_zero)
    SECRET_KEYS = Setting[list[str]]([], parse_secrets, secret=True)

    def __init__(self, parent: Settings) -> None:
        self._parent = parent
        self._environment_checked = False
        self._newest: Steady | None = None

    def title(self, name: str) -> str:
        return f"MAILQUEUE[{name!r}]"

    def look_up(self, name: str) -> tuple[object, str]:
        steady = steady_block.get() or Steady(self._sources(), current_environment())
        for mapping, source in steady.sources["MAILQUEUE"]:
            if name in mapping:
                return mapping[name], source
        if not self._environment_checked:
            self._check_environment()
        variable = _ENVIRONMENT_PREFIX + name
        text = read_variable(variable, steady.environment)
        raw = MISSING if text is None else EnvironmentText(text)
        return raw, f"the environment variable {variable}"

    def _sources(self) -> Mapping[str, Any]:
        found = self._parent.sources()
        for mapping, source in found["MAILQUEUE"]:
            self.check_names(mapping, source)
        return found

    def check_names(self, mapping: Mapping[str, object], source: str) -> None:
        """Refuse keys that don't exist, so that a typing error is never silently a default."""
        if not isinstance(mapping, Mapping):
            raise ImproperlyConfigured(f"MAILQUEUE, from {source}, must be a dictionary")
        if not mapping.keys() <= self.names():
            unknown = sorted(str(key) for key in mapping if key not in self.names())
            raise ImproperlyConfigured(
                f"MAILQUEUE has the unknown key {unknown[0]!r}, from {source}; "
                f"the keys are {', '.join(sorted(self.names()))}"
            )

    def steady(self) -> AbstractContextManager[None]:
        """Look each setting up only once in this block, in this thread.

        What an earlier block found still holds, unless a source has changed. Of Django's own
        settings, other than ``MAILQUEUE``, nobody can tell that. A block within another is a part
        of it.
        """
        outer = steady_block.get()
        if outer is not None:
            return Block(outer)
        found = self._as_they_are()
        if len(found.sources["MAILQUEUE"]) > 1:  # Django's is among them
            found = replace(found, values=found.values | {"mail": {}})
        return Block(found)

    def loosely(self, things: Iterable[T]) -> Iterator[T]:
        """Those things, each made as if outside of the block, where that is made by others' code.

        It may override settings, or compute what they are.
        """
        if type(things) in (list, tuple):
            return iter(things)
        return self._made_loosely(iter(things))

    def _made_loosely(self, iterator: Iterator[T]) -> Iterator[T]:
        while True:
            token = steady_block.set(None)
            try:
                thing = next(iterator)
            except StopIteration:
                return
            finally:
                steady_block.reset(token)
            yield thing

    def _as_they_are(self) -> Steady:
        fingerprint = fingerprint_of(self._parent.sources())
        newest, environment = self._newest, current_environment()
        if newest and newest.fingerprint == fingerprint and newest.environment == environment:
            return newest
        found = Steady(self._sources(), environment)
        if fingerprint is None:
            return found
        # Copies, which don't change with the sources.
        found = Steady(marshal.loads(fingerprint), dict(environment), fingerprint)  # noqa: S302
        self._newest = found
        return found

    def forget_environment(self) -> None:
        """Look for unknown variables again at the next look-up."""
        self._environment_checked = False

    def _check_environment(self) -> None:
        for variable in os.environ:
            if variable.startswith(_ENVIRONMENT_PREFIX) and variable not in _OTHER_VARIABLES:
                key = variable.removeprefix(_ENVIRONMENT_PREFIX)
                if key not in self.names():
                    raise ImproperlyConfigured(
                        f"the environment variable {variable} names no setting; "
                        f"the keys are {', '.join(sorted(self.names()))}"
                    )
        self._environment_checked = True


class Settings(Section):
    """Django's mail settings, by Django's names and defaults, and ``MAILQUEUE``.

    Every access looks the value up anew, so that overriding settings in a test just works; only
    names that don't exist are looked for in the environment once. The
    sources, in this order: Django's settings when Django is configured (then the settings that are
    Django's own come from nowhere else), ``configure()``, the environment. None is the default:
    projects write it for what they don't use.
    """

    none_is_default = True
    kind = "mail"

    EMAIL_BACKEND = Setting("mailqueue.backends.smtp.EmailBackend", parse_text)
    EMAIL_HOST = Setting("localhost", parse_text)
    EMAIL_PORT = Setting(25, parse_integer)
    EMAIL_HOST_USER = Setting("", parse_text)
    EMAIL_HOST_PASSWORD = Setting("", parse_text, secret=True)
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
    MAILERS = Setting[dict[str, Any]]({}, parse_mailers)

    def __init__(self) -> None:
        self.MAILQUEUE = QueueSettings(self)
        self._configured: dict[str, Any] = {}

    def configure(self, **values: Any) -> None:
        """Set settings by name in code; ``MAILQUEUE`` is a dictionary, merged key by key.

        Raises ImproperlyConfigured for a name that doesn't exist, a value that can't be read, or a
        setting that belongs to Django while Django is configured.
        """
        unknown = sorted(values.keys() - self.names() - {"MAILQUEUE"})
        if unknown:
            raise ImproperlyConfigured(
                f"configure() got {unknown[0]}, which is no setting; the settings are MAILQUEUE, "
                f"{', '.join(sorted(self.names()))}"
            )
        of_django = sorted(values.keys() - {"MAILQUEUE"})
        if of_django and django_settings() is not None:
            raise ImproperlyConfigured(
                f"configure() got {of_django[0]}, but Django is configured: set it in its settings"
            )
        before = self._configured
        queue = values.get("MAILQUEUE", {})
        self.MAILQUEUE.check_names(queue, "configure()")
        self._configured = before | values
        self._configured["MAILQUEUE"] = before.get("MAILQUEUE", {}) | queue
        try:
            self.check()
        except ImproperlyConfigured:
            self._configured = before
            raise

    def reset(self) -> None:
        """Forget what ``configure()`` set, and what the environment said. For tests."""
        self._configured = {}
        self.MAILQUEUE.forget_environment()

    @contextmanager
    def overridden(self, **values: Any) -> Iterator[None]:
        """Use other values for a while, those of Django's settings too. For tests."""
        django = django_settings()
        if django is not None:
            queue = getattr(django, "MAILQUEUE", {}) | values.get("MAILQUEUE", {})
            override = import_module("django.test.utils").override_settings
            with override(**values | {"MAILQUEUE": queue}):
                yield
            return
        before = self._configured
        try:
            self.configure(**values)
            yield
        finally:
            self._configured = before

    def check(self) -> None:
        """Read every setting once; raise ImproperlyConfigured for the first that is wrong."""
        self.MAILQUEUE.forget_environment()
        for section in (self, self.MAILQUEUE):
            for name in section.names():
                getattr(section, name)

    def look_up(self, name: str) -> tuple[object, str]:
        django = django_settings()
        if django is not None:
            return getattr(django, name, MISSING), "Django's settings"
        steady = steady_block.get()
        configured = self._configured if steady is None else steady.sources
        if name in configured:
            return configured[name], "configure()"
        text = read_variable(name, None if steady is None else steady.environment)
        raw = MISSING if text is None else EnvironmentText(text)
        return raw, f"the environment variable {name}"

    def sources(self) -> dict[str, Any]:
        """What is set, but for the environment and what is Django's own.

        Of ``MAILQUEUE`` these are several dictionaries, the first source first.
        """
        found = []
        django = django_settings()
        if django is not None:
            found.append((getattr(django, "MAILQUEUE", {}), "Django's settings"))
        found.append((self._configured.get("MAILQUEUE", {}), "configure()"))
        return self._configured | {"MAILQUEUE": found}


def django_settings() -> Any | None:
    """Django's settings object when Django is configured, else None.

    Configured means: ``settings.configure()`` was called, or ``DJANGO_SETTINGS_MODULE`` is set and
    Django is installed.
    """
    named = bool(read_variable("DJANGO_SETTINGS_MODULE"))
    if "django.conf" not in sys.modules and not (named and find_spec("django")):
        return None
    django = import_module("django.conf").settings
    return django if named or django.configured else None


def home() -> Path:
    """The directory of the embedded server: ``MAILQUEUE_HOME``, default ``.mailqueue`` here.

    Raises ImproperlyConfigured where that depends on a working directory that is gone.
    """
    directory = read_variable("MAILQUEUE_HOME") or ".mailqueue"
    if os.path.isabs(directory):  # noqa: PTH117 - a Path takes longer to make than all the rest
        return _home(directory, "")
    try:
        return _home(directory, os.getcwd())  # noqa: PTH109 - likewise
    except FileNotFoundError:
        raise ImproperlyConfigured(
            "the working directory is gone: set MAILQUEUE_HOME to the absolute path of a directory"
        ) from None


@lru_cache(maxsize=16)
def _home(directory: str, working_directory: str) -> Path:
    return Path(working_directory, directory)


settings = Settings()
configure = settings.configure
