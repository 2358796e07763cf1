"""Whether a worker has waited for the same thing all the time, and how to end that."""

from __future__ import annotations

import os
import socket
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Wait(NamedTuple):
    """A call of the system that a thread waits in.

    ``switches`` is how often the thread has waited so far: the same number means the same call.
    """

    socket: int
    switches: int


class Stall(Generic[T]):
    """Notices that the same is waited for, for too long.

    ``look`` says what is waited for just now; None is nothing.
    """

    def __init__(
        self, look: Callable[[], T | None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._look = look
        self._clock = clock
        self._seen: T | None = None
        self._since = 0.0

    def found(self, limit: float) -> T | None:
        """What is waited for since ``limit`` seconds, None for nothing.

        That is known from the calls of this, so call it every second or so.
        """
        seen = self._look()
        if seen != self._seen:
            self._seen, self._since = seen, self._clock()
        return None if self._clock() - self._since < limit else seen

    def forget(self) -> None:
        """Begin anew, with what is waited for from now on."""
        self._seen = None


def wait_of_main_thread() -> Wait | None:
    """What the main thread waits for, where that is a socket, and no time-out ends it.

    Linux tells in which call of the system a thread is, and how often it has waited (``/proc``, see
    proc_pid_syscall(5)). Where nothing tells it, this is None.
    """
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
