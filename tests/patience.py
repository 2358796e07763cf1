"""How long a test waits: deadlines that know how fast this machine is just now.

A deadline is given in seconds of a quiet machine. When these are over, a known piece of work is
timed, and the deadline moves by as much as that took longer than on a quiet machine, three times
over. So a busy machine fails no test, and what never comes true fails one soon enough.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

# What every worker and every command does first; it takes that long on two quiet cores.
_WORK = [sys.executable, "-c", "import celery.bin.celery, mailqueue.tasks"]
_QUIET = 0.6  # seconds
_POLL = 0.01  # seconds


class Process(Protocol):
    """What has a status once it has ended."""

    def poll(self) -> int | None: ...


def slowness() -> float:
    """How much longer than on a quiet machine a known piece of work takes now; 1 at least."""
    begin = time.monotonic()
    subprocess.run(_WORK, check=False, stdin=subprocess.DEVNULL, capture_output=True)
    return max(1.0, (time.monotonic() - begin) / _QUIET)


class Deadline:
    """The end of the patience: ``seconds`` of a quiet machine from now on.

    They are multiplied by ``margin``, since the machine may have been slower before than it is when
    its pace is measured.
    """

    def __init__(self, seconds: float, margin: float = 3.0) -> None:
        self.seconds = seconds
        self._margin = margin
        self._begin = time.monotonic()
        self._limit = seconds

    def is_over(self) -> bool:
        """Whether it is over; this measures the machine's pace where it might be."""
        if self._passed() <= self._limit:
            return False
        passed = self._passed()
        self._limit = max(self._limit, self.seconds * self._margin * slowness())
        return passed > self._limit

    def _passed(self) -> float:
        return time.monotonic() - self._begin

    def explain(self) -> str:
        return f"not within {self._passed():.0f} s, {self.seconds} s of a quiet machine"


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fail when the block takes longer than these seconds of a quiet machine, without a margin."""
    deadline = Deadline(seconds, margin=1.0)
    yield
    assert not deadline.is_over(), deadline.explain()


def ended(process: Process, seconds: float) -> int:
    """Wait until a process has ended; its status."""
    wait_until(lambda: process.poll() is not None, seconds)
    status = process.poll()
    assert status is not None
    return status


def wait_until(
    condition: Callable[[], Any], seconds: float, explain: Callable[[], str] = lambda: ""
) -> None:
    """Return as soon as the condition holds; fail when the patience ends (see Deadline)."""
    deadline = Deadline(seconds)
    while not condition():
        # To find that it is over takes a while, in which it may have come true.
        if deadline.is_over() and not condition():
            raise AssertionError(f"{deadline.explain()}: {condition}\n{explain()}")
        time.sleep(_POLL)
