"""Keeps the journal's clock going evenly, whatever becomes of its server's."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from .record import ServerClock

_log = logging.getLogger(__name__)
_SLACK = 1.0  # seconds: clocks that are put right slowly differ by less between two looks
# Which also goes on while the machine sleeps, where the system has such a clock.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Kept(Protocol):
    """What has a clock to be kept: a journal."""

    queue: str

    def read_clock(self) -> ServerClock: ...

    def set_clock(self, clock: ServerClock, offset: float) -> bool: ...


class _Look(NamedTuple):
    """What a clock said between two moments on our own."""

    asked: float
    answered: float
    clock: ServerClock


class Timekeeper:
    """Compares a server's clock with this process's own, which never steps; call it often.

    A step is more, or less, than can have passed between two looks, however long the answers took.
    What it is out by goes into the journal's offset. Of several timekeepers the first one that
    notices puts it there, and the others see that the offset has changed.
    """

    def __init__(self, kept: Kept, elapsed: Callable[[], float] | None = None) -> None:
        self._kept = kept
        self._elapsed = elapsed or (lambda: time.clock_gettime(_CLOCK))
        self._last: _Look | None = None

    def look(self) -> None:
        """Look at the clock, and correct it. Raises JournalUnavailable."""
        asked = self._elapsed()
        clock = self._kept.read_clock()
        look = _Look(asked, self._elapsed(), clock)
        last, self._last = self._last, look
        if last is None or last.clock.offset != clock.offset:
            # Nothing to compare it with. But time that was seen on it before isn't yet to come, and
            # a clock that nobody has ever looked at is right.
            if clock.time + clock.offset < clock.seen or not clock.seen:
                self._set(look, max(clock.offset, clock.seen - clock.time))
            return
        self._set(look, clock.offset - _step(last, look))

    def _set(self, look: _Look, offset: float) -> None:
        self._kept.set_clock(look.clock, offset)
        self._last = look._replace(clock=look.clock._replace(offset=offset))
        if offset != look.clock.offset:
            _log.warning(
                "queue %s: the clock of the journal's server has stepped by %+.1f s; times of the "
                "queue go on as before", self._kept.queue, look.clock.offset - offset,
            )  # fmt: skip


def _was_seen_since(last: _Look, look: _Look, most: float) -> bool:
    """Whether another timer has seen the clock go on evenly, longer than our own clock says.

    Then it was this machine that stood still, as a virtual one does while it is suspended.
    """
    seen = look.clock.seen - look.clock.offset
    return seen > last.clock.time + most + _SLACK


def _step(last: _Look, look: _Look) -> float:
    """By how many seconds the clock has stepped between these looks; 0 where it may not have."""
    passed = look.clock.time - last.clock.time
    least, most = look.asked - last.answered, look.answered - last.asked
    if passed < least - _SLACK:
        return passed - least
    if passed > most + _SLACK and not _was_seen_since(last, look, most):
        return passed - most
    return 0.0
