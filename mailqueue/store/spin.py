"""Waiting for a server that answers sooner than a sleeper is woken."""

from __future__ import annotations

import os
import select
import socket
import time

_MOMENT = 0.0002  # seconds
_MOST_PASSED = 16  # waits
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
