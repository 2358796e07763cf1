"""Waiting for the signal to stop."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager


class Stop:
    """Whether a signal to stop has come, and the wait for one."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def wait(self, timeout: float | None = None) -> bool:
        """Whether one has come; wait for it up to ``timeout`` seconds, None for ever."""
        return bool(select.select([self._descriptor], [], [], timeout)[0])


@contextmanager
def until_stopped() -> Iterator[Stop]:
    """While this lasts, SIGINT, SIGTERM and SIGHUP are waited for instead of ending the process.

    One that is ignored, as SIGHUP under ``nohup``, is ignored still; after the first that came all
    are, so that none disturbs what is left to do.
    """
    # Not a handler that sets an Event: the Event's lock may be held by the handler's own thread at
    # that moment, and Python doesn't call a handler for what comes just before the wait begins.
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    descriptor_before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    # SIGHUP is what a terminal sends when it is closed.
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    heard = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, lambda *_: None) for number in heard}
    stop = Stop(reader)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if stop.wait(0) else handler)
        signal.set_wakeup_fd(descriptor_before)
        os.close(reader)
        os.close(writer)
