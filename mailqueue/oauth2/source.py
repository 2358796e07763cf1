"""Where a mailer's tokens come from: the function that EMAIL_OAUTH2 names, and its options."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from importlib import import_module
from typing import Any

from mailqueue.errors import ImproperlyConfigured, InvalidMailer, MailqueueError

from .secrecy import hide
from .token import Token, read_token

_OURS = ("alias", "username")  # what mailqueue itself hands to the function


@dataclass(frozen=True, eq=False)
class Source:
    """A token function with all that it is called with; its options are secrets."""

    path: str
    function: Callable[..., object] = field(repr=False)
    alias: str | None
    username: str
    options: Mapping[str, Any] = field(repr=False)

    @cached_property
    def key(self) -> str:
        """The same for the same settings, and nothing that a secret can be read from."""
        parts = (self.path, self.alias, self.username, sorted(self.options.items()))
        return hashlib.sha256(repr(parts).encode("utf-8", "backslashreplace")).hexdigest()

    def fetch(self, clock: Callable[[], float], now: Callable[[], datetime]) -> Token | str:
        """Ask the function; return its token, or why there is none, without any secret."""
        try:
            given = self.function(alias=self.alias, username=self.username, **self.options)
            return read_token(given, clock(), now())
        except MailqueueError as error:
            reason = str(error)
        except BaseException as error:  # noqa: BLE001 - a stranger's function, in a thread of its own
            reason = f"{type(error).__name__}: {error}"
        return " ".join(hide(reason, self.options).split())


def find_source(
    path: str, options: Mapping[str, Any], *, alias: str | None, username: str | None
) -> Source:
    """Find the function at that path, and see whether it can be called.

    Raises ImproperlyConfigured, for a mailer InvalidMailer; the text names what to mend, and shows
    no option's value.
    """
    titles = _Titles(alias)
    if not isinstance(options, Mapping) or not all(isinstance(key, str) for key in options):
        raise titles.error(f"{titles.options} must be a dictionary of keyword arguments")
    if not username:
        raise titles.error(f"{titles.path} needs {titles.username}: the mailbox that logs in")
    if not username.isprintable():
        raise titles.error(f"{titles.username} holds a control character")
    function = _function_at(path, titles)
    _check_options(function, path, options, titles)
    return Source(path, function, alias, username, dict(options))


class _Titles:
    """What the settings of a mailer, or those without mailers, are called."""

    def __init__(self, alias: str | None) -> None:
        self._alias = alias
        is_plain = alias is None
        self.path = "EMAIL_OAUTH2" if is_plain else "OPTIONS['oauth2']"
        self.options = "EMAIL_OAUTH2_OPTIONS" if is_plain else "OPTIONS['oauth2_options']"
        self.username = "EMAIL_HOST_USER" if is_plain else "OPTIONS['username']"

    def error(self, text: str) -> ImproperlyConfigured:
        if self._alias is None:
            return ImproperlyConfigured(text)
        return InvalidMailer(text, alias=self._alias)


def _function_at(path: str, titles: _Titles) -> Callable[..., object]:
    module, _, name = str(path).rpartition(".")
    reason = "it defines no such function"
    try:
        found = getattr(import_module(module), name, None)
    except Exception as error:  # noqa: BLE001 - a stranger's module raises what it likes
        found, reason = None, f"{type(error).__name__}: {error}"
    if not callable(found):
        raise titles.error(f"{titles.path} = {path!r} can't be used: {reason}") from None
    function: Callable[..., object] = found
    return function


def _check_options(
    function: Callable[..., object], path: str, options: Mapping[str, Any], titles: _Titles
) -> None:
    taken = next((name for name in _OURS if name in options), None)
    if taken is not None:
        raise titles.error(f"{titles.options} must not have {taken!r}, which mailqueue passes")
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # some that are written in C have none
        return
    wrong = "; ".join(_misfits(parameters, [*_OURS, *options]))
    if wrong:
        raise titles.error(f"{titles.options} don't fit {path}: {wrong}")


def _misfits(parameters: Iterable[inspect.Parameter], given: Sequence[str]) -> Iterator[str]:
    """Name the arguments that a function doesn't take, and those that it lacks."""
    known = {parameter.name: parameter for parameter in parameters}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in known.values())
    by_name = {n for n, p in known.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    if not takes_any:
        yield from (f"it takes no {name!r}" for name in given if name not in by_name)
    starred = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    for name, parameter in known.items():
        is_needed = parameter.default is parameter.empty and parameter.kind not in starred
        if is_needed and name not in given:
            yield f"it needs {name!r}"
