"""A message as a backend gets it: for those of its recipients who are still to get it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

_LISTS = ("to", "cc", "bcc")


def for_the_rest(message: Any, recipients: Sequence[str]) -> Any:
    """The message for these recipients alone: itself where they are all that it has, else a copy.

    Backends of services read ``to``, ``cc`` and ``bcc``, so the copy's name nobody else. Most of
    them want somebody in ``to``, so where nobody there is left somebody else takes the place. Its
    ``message()`` is the whole one's, so that headers stay what they were. What is copied or
    pickled of it is a message of the original class.
    """
    if {*recipients} == {*message.recipients()}:
        return message
    rest = copy.copy(message)
    for name in _LISTS:
        addresses = getattr(message, name, None)
        if addresses:
            setattr(rest, name, [address for address in addresses if address in recipients])
    if getattr(message, "to", None) and not rest.to:
        _address(rest)
    rest.__class__ = _class_of_rest(message, tuple(recipients))
    return rest


def _address(rest: Any) -> None:
    """Put those of ``cc`` in ``to``, or one alone in ``bcc``; several must not see each other."""
    name = "cc" if getattr(rest, "cc", None) else "bcc"
    addresses = getattr(rest, name, None) or []
    if name == "cc" or len(addresses) == 1:
        rest.to = addresses
        setattr(rest, name, [])


def _itself(message: Any) -> Any:
    return message


def _class_of_rest(whole: Any, left: tuple[str, ...]) -> type[Any]:
    kind: type[Any] = type(whole)

    def recipients(_self: Any) -> list[str]:
        return list(left)

    def message(_self: Any, *args: Any, **options: Any) -> Any:
        return whole.message(*args, **options)

    def reduce(self: Any, _protocol: Any) -> Any:
        plain = object.__new__(kind)
        vars(plain).update(vars(self))
        return _itself, (plain,)

    methods = {"recipients": recipients, "message": message, "__reduce_ex__": reduce}
    return type(kind.__name__, (kind,), {**methods, "__module__": kind.__module__})
