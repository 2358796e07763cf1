"""Where settings are found: in Django's, in what ``configure()`` was given, in the environment."""

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

from mailqueue.errors import ImproperlyConfigured

from .kubernetes import describes_service
from .parse import EnvironmentText
from .setting import (
    MISSING,
    Block,
    Section,
    Steady,
    current_environment,
    current_steady,
    fingerprint_of,
    read_variable,
    steady_block,
    without_frames,
)
from .spelling import guess

T = TypeVar("T")
_ENVIRONMENT_PREFIX = "MAILQUEUE_"
# The file descriptor whose closing tells a worker that `mailqueue up` has ended.
LIFELINE = "MAILQUEUE_LIFELINE"
# Variables of ours that are no settings.
_OTHER_VARIABLES = {"MAILQUEUE_HOME", "MAILQUEUE_FAULT", LIFELINE}


class QueueSection(Section):
    """The dictionary ``MAILQUEUE``, which each source may have a part of."""

    kind = "queue"

    def __init__(self, parent: MailSection) -> None:
        self._parent = parent
        self._environment_checked = False
        self._newest: Steady | None = None

    def title(self, name: str) -> str:
        return f"MAILQUEUE[{name!r}]"

    def look_up(self, name: str) -> tuple[object, str]:
        steady = current_steady() or Steady(self._sources(), current_environment())
        for mapping, source in steady.sources["MAILQUEUE"]:
            if name in mapping:
                return mapping[name], source
        if not self._environment_checked:
            self._check_environment()
        variable = _ENVIRONMENT_PREFIX + name
        return _read_text(variable, steady.environment), f"the environment variable {variable}"

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
                f"MAILQUEUE has the unknown key {unknown[0]!r}, from {source}."
                f"{guess(unknown[0], self.names())} The keys are {', '.join(sorted(self.names()))}"
            )

    def steady(self) -> AbstractContextManager[None]:
        """Look each setting up only once in this block, in this thread.

        What an earlier block found still holds, unless a source has changed. Of Django's own
        settings, other than ``MAILQUEUE``, nobody can tell that. A block within another is a part
        of it.
        """
        outer = current_steady()
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
        return self._make_loosely(iter(things))

    def _make_loosely(self, iterator: Iterator[T]) -> Iterator[T]:
        while True:
            token = steady_block.set(None)
            try:
                thing = next(iterator)
            except StopIteration:
                return
            finally:
                steady_block.reset(token)
            yield thing

    @without_frames
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
        for variable, value in os.environ.items():
            if variable.startswith(_ENVIRONMENT_PREFIX) and variable not in _OTHER_VARIABLES:
                key = variable.removeprefix(_ENVIRONMENT_PREFIX)
                if key not in self.names() and not describes_service(variable, value):
                    raise ImproperlyConfigured(
                        f"the environment variable {variable} names no setting."
                        f"{self._guess_variable(key)} The keys are "
                        f"{', '.join(sorted(self.names()))}"
                    )
        self._environment_checked = True

    def _guess_variable(self, key: str) -> str:
        if key in self._parent.names():  # Django's settings have no prefix
            return f" Is {key} meant?"
        return guess(key, [*self.names(), "HOME"], _ENVIRONMENT_PREFIX)


class MailSection(Section):
    """The settings that are Django's own, and the dictionary ``MAILQUEUE``."""

    none_is_default = True
    kind = "mail"
    MAILQUEUE: QueueSection

    def __init__(self) -> None:
        self._configured: dict[str, Any] = {}

    def configure(self, **values: Any) -> None:
        """Set settings by name in code; ``MAILQUEUE`` is a dictionary, merged key by key.

        Raises ImproperlyConfigured for a name that doesn't exist, a value that can't be read, or a
        setting that belongs to Django while Django is configured.
        """
        unknown = sorted(values.keys() - self.names() - {"MAILQUEUE"})
        if unknown:
            raise ImproperlyConfigured(
                f"configure() got {unknown[0]}, which is no setting.{self._guess(unknown[0])} The "
                f"settings are MAILQUEUE, {', '.join(sorted(self.names()))}"
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

    def _guess(self, name: str) -> str:
        if name in self.MAILQUEUE.names():
            return f" Is MAILQUEUE={{{name!r}: …}} meant?"
        return guess(name, self.names() | {"MAILQUEUE"})

    @property
    def is_configured(self) -> bool:
        """Whether ``configure()`` set anything."""
        return bool(self._configured)

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
            return _read(django, name), "Django's settings"
        steady = current_steady()
        configured = self._configured if steady is None else steady.sources
        if name in configured:
            return configured[name], "configure()"
        environment = None if steady is None else steady.environment
        return _read_text(name, environment), f"the environment variable {name}"

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


def _read_text(variable: str, environment: Mapping[Any, Any] | None) -> object:
    text = read_variable(variable, environment)
    if text is None or describes_service(variable, text):
        return MISSING
    return EnvironmentText(text)


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


def _read(django: Any, name: str) -> Any:
    """A setting of Django's, or MISSING, read without a warning.

    Django 6.1 warns who reads one of the older mail settings, which nobody need have set. It does
    so in its proxy, so this looks behind that.
    """
    if not getattr(django, "configured", True):
        _ = django.DEBUG  # has the proxy load the settings
    return getattr(getattr(django, "_wrapped", django), name, MISSING)


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
