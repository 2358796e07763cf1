"""What calls that failed have left behind, so that the same objects can be sent again.

It is kept beside the message objects and goes with them. A copy of an object is another message,
and an object that takes no new attributes is known again too.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from enum import Enum
from functools import partial
from typing import Any, NamedTuple

from .options import Options

_HELD_AT_MOST = 1000  # objects that no weak reference can be made to


class End(Enum):
    """How the call ended for a message."""

    REFUSED = 1
    IN_DOUBT = 2
    ACCEPTED = 3


class Likeness(NamedTuple):
    """What was to be sent, and how; ``set_by`` counts where the content is new each time."""

    content: int
    options: Options
    set_by: int = 0

    def is_that_of(self, other: Likeness) -> bool:
        """Whether both are of the same mail."""
        is_set_so = self.set_by != 0 and self.set_by == other.set_by
        return (is_set_so or self.content == other.content) and self.options == other.options


class FailedCall:
    """A call that failed; ``open`` counts what is remembered of the messages that it left open."""

    open = 0


class Earlier(NamedTuple):
    """A message as a call that failed had it.

    One that was left open belongs to the calls that left it so. One that was accepted depends on a
    call: when nothing is open of that any more, the same object is a new message.
    """

    id: str
    likeness: Likeness
    end: End
    open_in: tuple[FailedCall, ...] = ()
    depends_on: FailedCall | None = None

    @property
    def counts(self) -> bool:
        """Whether sending the object again means this message."""
        return self.depends_on is None or self.depends_on.open > 0


class Memory:
    """The earlier messages of each object."""

    def __init__(self) -> None:
        self._found: dict[int, tuple[Callable[[], Any], Sequence[Earlier]]] = {}
        self._held: dict[int, Any] = {}  # the one that was kept first comes first

    def of(self, message: Any) -> Sequence[Earlier]:
        """What earlier calls left of this object."""
        get, found = self._found.get(id(message), (None, ()))
        return [one for one in found if one.counts] if get and get() is message else ()

    def keep(self, message: Any, found: Sequence[Earlier]) -> None:
        """Remember this of the object, and nothing else; with nothing it is forgotten."""
        self._forget(id(message))
        if not found:
            return
        self._found[id(message)] = self._reference(message), found
        for one in found:
            for call in one.open_in:
                call.open += 1

    def _forget(self, key: int) -> None:
        self._held.pop(key, None)
        _, found = self._found.pop(key, (None, ()))
        for one in found:
            for call in one.open_in:
                call.open -= 1

    def _reference(self, message: Any) -> Callable[[], Any]:
        key = id(message)
        try:
            return weakref.ref(message, lambda _: self._forget(key))
        except TypeError:
            self._held[key] = message
            if len(self._held) > _HELD_AT_MOST:
                self._forget(next(iter(self._held)))
            return partial(self._held.get, key)


memory = Memory()
