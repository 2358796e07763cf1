"""Whether the main thread has waited for one socket all the time, and how to end that."""

from __future__ import annotations

import os
import socket
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class Wait(NamedTuple):
    """A call of the system that a thread waits in.

    ``switches`` is how often the thread has waited so far: the same number means the same call.
    """

    socket: int
    switches: int


class Stall:
    """Notices that the main thread waits for the same answer of a socket's peer for too long.

    Only a wait without a time-out is noticed. Linux tells in which call of the system a thread is,
    and how often it has waited (``/proc``, see proc_pid_syscall(5)). Where nothing tells it, none
    is noticed.
    """

    def __init__(
        self,
        look: Callable[[], Wait | None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look = look or wait_of_main_thread
        self._clock = clock
        self._seen: Wait | None = None
        self._since = 0.0

    def found(self, limit: float) -> int | None:
        """The number of the socket that is waited for since ``limit`` seconds, None for none.

        What is waited for is known from the calls of this, so call it every second or so.
        """
        seen = self._look()
        if seen != self._seen:
            self._seen, self._since = seen, self._clock()
        if seen is None or self._clock() - self._since < limit:
            return None
        return seen.socket

    def forget(self) -> None:
        """Begin anew, with what is waited for from now on."""
        self._seen = None


def wait_of_main_thread() -> Wait | None:
    """What the main thread waits for, where that is a socket."""
    # Under Linux its number is the process's; Python's own is the parent's after a fork.
    task = Path(f"/proc/self/task/{os.getpid()}")
    with suppress(OSError, ValueError, IndexError, OverflowError):
        # The number of the call, and its arguments; the first one of recv, read and connect, and of
        # no call that waits for something else, is the number of a socket.
        number = int((task / "syscall").read_text().split()[1], 16)
        if stat.S_ISSOCK(os.fstat(number).st_mode):
            return Wait(number, _switches(task))
    return None


def _switches(task: Path) -> int:
    lines = (task / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_"))


def end_connection(number: int) -> None:
    """Have whoever waits for that socket's peer take the connection for closed."""
    with suppress(OSError), socket.socket(fileno=os.dup(number)) as same:
        same.shutdown(socket.SHUT_RDWR)
