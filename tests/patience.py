"""How long a test waits: deadlines that know how fast this machine is just now.

A deadline is given in seconds of a quiet machine. When these are over, a known piece of work is
timed, and the deadline moves by as much as that took longer than on a quiet machine. So a busy
machine fails no test, and a condition that never comes true fails one soon enough.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# What every worker and every command does first; it takes that long on two quiet cores.
_WORK = [sys.executable, "-c", "import celery.bin.celery, mailqueue.tasks"]
_QUIET = 0.6  # seconds
_MARGIN = 3.0  # the machine may have been slower before than it is now
_POLL = 0.01  # seconds


def stretched(seconds: float) -> float:
    """How long those seconds of a quiet machine are on this one, now, with a margin."""
    begin = time.monotonic()
    subprocess.run(_WORK, check=True, stdin=subprocess.DEVNULL)
    return seconds * _MARGIN * max(1.0, (time.monotonic() - begin) / _QUIET)


class Deadline:
    """The end of the patience: so many seconds of a quiet machine from now on."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._begin = time.monotonic()
        self._limit: float | None = None  # seconds, once the machine's pace was looked at

    def is_over(self) -> bool:
        passed = time.monotonic() - self._begin
        if passed <= self.seconds:
            return False
        if self._limit is None:
            self._limit = stretched(self.seconds)
        return time.monotonic() - self._begin > self._limit

    def explain(self) -> str:
        passed = time.monotonic() - self._begin
        return f"not within {passed:.0f} s, {self.seconds} s of a quiet machine"


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fail when the block takes longer than these seconds of a quiet machine."""
    deadline = Deadline(seconds)
    yield
    assert not deadline.is_over(), deadline.explain()


def wait_until(
    condition: Callable[[], Any], seconds: float, explain: Callable[[], str] = lambda: ""
) -> None:
    """Return as soon as the condition holds; fail when the patience ends (see Deadline)."""
    deadline = Deadline(seconds)
    while not condition():
        if deadline.is_over():
            raise AssertionError(f"{deadline.explain()}: {condition}\n{explain()}")
        time.sleep(_POLL)
