"""Forms of the mail API that still work, and say that they are old."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

_TOP = __name__.partition(".")[0]
P = ParamSpec("P")
R = TypeVar("R")


def accept_positional(
    *names: str, after: int, name: str | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Accept the keyword-only parameters ``names`` by position, with a DeprecationWarning.

    ``after`` is the number of parameters that may be given by position; with ``name`` the function
    is the constructor of the class of that name, and has ``self`` besides.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        title = name or function.__name__
        allowed = after + 1 if name else after

        @wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> R:
            if len(args) <= allowed:
                return function(*args, **kwargs)
            given = len(args) - (1 if name else 0)
            _check(title, given, after, names, kwargs)
            extra = dict(zip(names, args[allowed:], strict=False))
            _warn(title, tuple(extra))
            return function(*args[:allowed], **kwargs, **extra)

        return cast("Callable[P, R]", wrapper)

    return decorate


def _check(
    title: str, given: int, after: int, names: tuple[str, ...], keywords: dict[str, object]
) -> None:
    if given > after + len(names):
        raise TypeError(
            f"{title}() takes at most {after + len(names)} positional argument(s) "
            f"(including {len(names)} deprecated) but {given} were given."
        )
    doubled = [name for name in names[: given - after] if name in keywords]
    if doubled:
        raise TypeError(
            f"{title}() got both deprecated positional and keyword argument values for "
            f"{', '.join(repr(name) for name in doubled)}."
        )


def _warn(title: str, names: tuple[str, ...]) -> None:
    listed = ", ".join(repr(name) for name in names)
    warn_caller(
        f"Passing positional argument(s) {listed} to {title}() is deprecated. "
        "Use keyword arguments instead."
    )


def warn_caller(text: str) -> None:
    """Warn that something is old, at the line of the program that called this package."""
    level, frame = 1, sys._getframe()
    while frame.f_back and frame.f_globals["__name__"].partition(".")[0] == _TOP:
        level, frame = level + 1, frame.f_back
    warnings.warn(text, DeprecationWarning, stacklevel=level)
