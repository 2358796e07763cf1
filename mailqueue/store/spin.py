"""Waiting for a server: one that answers sooner than one is woken, and one that is far away."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable

_MOMENT = 0.0002  # seconds
_MOST_PASSED = 16  # waits
# Who waits for a reply that takes its time is back so many seconds before it is expected, at least,
# and is away for so many at most.
_EARLY, _LONGEST = 0.003, 1.0
_FORGETS = 4  # replies in which it gets used to a server that has become slower
# Work that takes long may come with each eighth message only: what is left of the time for it then.
_REMEMBERS = 15 / 16
# Not those of gevent or eventlet, where a greenlet that stays awake keeps all others waiting.
_KINDS = {"socket", "ssl"}


def is_readable(connected: socket.socket, within: float = 0) -> bool:
    """Whether there is something to read, or the other side has closed, within so many seconds."""
    if not hasattr(select, "poll"):  # eventlet takes it away, since it would stop all greenlets
        return bool(select.select([connected], [], [], within)[0])
    waiting = select.poll()
    waiting.register(connected, select.POLLIN)
    return bool(waiting.poll(within * 1000))


class Wakefulness:
    """Whether it is worth while to stay awake until a connection has something to read.

    A process that sleeps has to be woken by the one that answers, which takes some 50 µs of both on
    a virtual machine; a server on the same machine or nearby answers in 100. So for a moment the
    process looks again and again, and lets others have the processor in between. Where nothing
    comes in that time it doesn't try that the next time; where it is vain again and again, as with
    a server far away, for more and more times.
    """

    def __init__(self) -> None:
        self._passes = 0
        self._to_pass = 1  # where the next one is vain

    def wait(self, connected: socket.socket | None) -> bool:
        """Whether there is something to read within a moment; otherwise it is to be slept for."""
        if self._passes > 0:
            self._passes -= 1
            return False
        if connected is None or type(connected).__module__ not in _KINDS:
            return False
        waiting = select.poll()
        waiting.register(connected, select.POLLIN)
        until = time.perf_counter() + _MOMENT
        while not waiting.poll(0):
            if time.perf_counter() >= until:
                self._passes = self._to_pass
                self._to_pass = min(2 * self._to_pass, _MOST_PASSED)
                return False
            os.sched_yield()
        self._to_pass = 1
        return True


class Expectation:
    """When a server's reply is expected, and how long before that there is something to do."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._asked: float | None = None  # when, where it has said nothing since
        self._answers_in = 0.0  # seconds, as far as it is known
        self._early = _EARLY  # twice as long as what was to be done took lately, at most
        self._back: float | None = None  # since when that is being done

    def asked(self) -> None:
        """Say that something was written."""
        self._asked = self._clock()

    def answered(self) -> None:
        """Say that something was received: quicker than known is so from now on, slower perhaps."""
        if self._asked is None:
            return
        took, self._asked = self._clock() - self._asked, None
        if took < self._answers_in or not self._answers_in:
            self._answers_in = took
        else:
            self._answers_in += (took - self._answers_in) / _FORGETS

    def to_spare(self) -> float:
        """The seconds for which one may be away now; 0 where that isn't worth while.

        Whole milliseconds, since of others `poll` makes one more.
        """
        seconds = min(self._answers_in - self._early, _LONGEST)
        return int(seconds * 1000) / 1000 if seconds > _EARLY else 0

    def is_back(self) -> None:
        """Say that one does from now on what there is to do until the reply comes."""
        self._back = self._clock()

    def is_met(self, *, in_time: bool) -> None:
        """Say that all was done ``in_time``, and the reply is waited for; or that it is there."""
        if self._back is None:
            return
        took, self._back = self._clock() - self._back, None
        if in_time:
            needs = max(2 * took, _REMEMBERS * self._early)
        else:
            needs = min(2 * self._early, self._answers_in)
        self._early = max(_EARLY, needs)
