"""One setting: where it is looked up, how it is read, and how long what was found holds."""

from __future__ import annotations

import marshal
import os
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache, lru_cache, wraps
from typing import Any, Generic, ParamSpec, TypeVar, overload
from weakref import ref

from mailqueue.errors import ImproperlyConfigured

T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")
MISSING = object()


def without_frames(look_up: Callable[P, R]) -> Callable[P, R]:
    """Have it raise what is wrong with a setting without the frames in which that was found.

    Their variables are what was set, passwords too, and reports of errors list variables. The text
    says all that there is to know.
    """

    @wraps(look_up)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return look_up(*args, **kwargs)
        except ImproperlyConfigured as error:
            raise error.with_traceback(None) from None

    return wrapper


class Setting(Generic[T]):
    """One setting: its default, and how its value is read and checked."""

    def __init__(self, default: T, parse: Callable[[object], T], *, secret: bool = False) -> None:
        self.default = default
        self.parse = parse
        self.secret = secret

    def __set_name__(self, owner: type[Section], name: str) -> None:
        self.name = name

    @overload
    def __get__(self, section: None, owner: type[Section]) -> Setting[T]: ...
    @overload
    def __get__(self, section: Section, owner: type[Section]) -> T: ...
    def __get__(self, section: Section | None, owner: type[Section]) -> Setting[T] | T:
        if section is None:
            return self
        steady = current_steady()
        if steady is None:
            return self._look_up(section)
        kept = steady.values[section.kind]
        value: Any = kept.get(self.name, MISSING)
        if value is MISSING:
            value = kept[self.name] = self._look_up(section)
        found: T = value
        return found

    @without_frames
    def _look_up(self, section: Section) -> T:
        raw, source = section.look_up(self.name)
        if raw is MISSING or (raw is None and section.none_is_default):
            return self.default
        try:
            return self.parse(raw)
        except (TypeError, ValueError) as error:
            shown = "(not shown)" if self.secret else repr(raw)
            raise ImproperlyConfigured(
                f"{section.title(self.name)} = {shown}, from {source}: {error}"
            ) from None


class Section:
    """What the settings and the ``MAILQUEUE`` dictionary share: a look-up in the three sources."""

    none_is_default = False
    kind = ""  # what sets its values apart from the other's

    def look_up(self, name: str) -> tuple[object, str]:
        """What is set, or MISSING, and where."""
        raise NotImplementedError

    def title(self, name: str) -> str:
        """The setting as its user writes it."""
        return name

    @classmethod
    @cache
    def names(cls) -> frozenset[str]:
        """The settings that exist."""
        return frozenset(name for name, value in vars(cls).items() if isinstance(value, Setting))


@dataclass(frozen=True)
class Steady:
    """What a block of ``QueueSettings.steady`` looks settings up in, and what it found."""

    # None of this is shown to who lists a frame's variables: passwords are among it.
    sources: Mapping[str, Any] = field(repr=False)
    environment: Mapping[Any, Any] = field(repr=False)
    fingerprint: bytes | None = field(default=None, repr=False)
    values: dict[str, dict[str, Any]] = field(default_factory=lambda: {"queue": {}, "mail": {}})


class Block:
    """What ``QueueSettings.steady`` returns; a generator would take as long as all it does.

    It holds as long as it exists, which is as long as the ``with``. An exception from outside, of a
    signal's handler, say, may come before the variable is reset.
    """

    def __init__(self, found: Steady) -> None:
        self.found = found

    def __enter__(self) -> None:
        self._token = steady_block.set(ref(self))

    def __exit__(self, *_: object) -> None:
        steady_block.reset(self._token)


steady_block: ContextVar[ref[Block] | None] = ContextVar("mailqueue_steady", default=None)


def current_steady() -> Steady | None:
    """What the block of this thread has found, if there is one."""
    reference = steady_block.get()
    block = reference and reference()
    return block.found if block else None


def current_environment() -> Mapping[Any, Any]:
    """What ``os.environ`` reads, or what a test has put in its place.

    ``os.environ`` raises and catches two errors to say that a variable isn't set, which most
    aren't, and a ``send()`` asks for some ten.
    """
    return getattr(os.environ, "_data", os.environ)


_encoded = lru_cache(maxsize=256)(os.fsencode)


def read_variable(name: str, environment: Mapping[Any, Any] | None = None) -> str | None:
    """A variable of the environment, or None."""
    found = current_environment() if environment is None else environment
    value = found.get(_encoded(name))
    if value is None:
        value = found.get(name)
    return None if value is None else os.fsdecode(value)


def fingerprint_of(dictionaries: Any) -> bytes | None:
    """What is the same for the same settings; None where nobody can tell.

    Of plain values only, down to the last: what computes its value, such as a lazy string, may be
    another the next time, and what compares as equal, such as 1 and True, may be read as another.
    """
    try:
        return marshal.dumps(dictionaries, 2)
    except ValueError:
        return None
