"""Notices a worker that takes no more tasks though it has none, and has it connect anew.

Celery lets a worker hold so many unacknowledged tasks. With Redis as the broker, an acknowledgement
that fails, because its connection was closed just then, leaves its task counted for ever; after as
many of them as it may hold, the worker takes no task any more, and says nothing.

And where an application sets no time-out, a worker's main thread waits for ever for the answer to a
command over a connection that died without a word. It takes no task then, and hears no SIGTERM.
"""

from __future__ import annotations

import logging
import math
import time
from typing import Any

from celery.worker import state

from .stall import Stall, Wait, end_connection, wait_of_main_thread

_log = logging.getLogger(__name__)
# Seconds for an answer of the broker, and for those that nobody needs any more: at a worker's end,
# and while it leaves connections of which one has turned out to be dead.
_LONGEST_WAIT, _LONGEST_WAIT_AT_END = 15.0, 3.0
_SECONDS_TO_LEAVE = 60.0


class Watchdog:
    """Looks at a Celery worker's consumer, from another thread."""

    def __init__(self, consumer: Any, stall: Stall[Wait] | None = None) -> None:
        self._consumer = consumer
        self._stall = stall or Stall(wait_of_main_thread)
        self._was_deaf = False
        self._leaves_until = -math.inf

    def check(self, *, stopping: bool = False) -> None:
        """Call it every second: two looks that find the same are no coincidence.

        A worker that is ``stopping`` takes no tasks, but is to wait for nobody for ever either.
        """
        if not stopping:
            self._check_hearing()
        in_haste = stopping or time.monotonic() < self._leaves_until
        limit = _LONGEST_WAIT_AT_END if in_haste else _LONGEST_WAIT
        if self.end_wait(limit):
            _log.error(
                "the worker has waited for its broker for %.0f s, over a connection that nobody "
                "closed: it connects anew. Set time-outs in broker_transport_options", limit
            )  # fmt: skip
            self._leaves_until = time.monotonic() + _SECONDS_TO_LEAVE

    def _check_hearing(self) -> None:
        is_deaf = not state.reserved_requests and not self.may_take_tasks()
        if is_deaf and self._was_deaf:
            _log.error("the worker takes no tasks: Celery couldn't acknowledge as many as it holds")
            self.connect_anew()
        self._was_deaf = is_deaf and not self._was_deaf

    def may_take_tasks(self) -> bool:
        """Whether the worker has room for tasks, as its broker counts what it holds."""
        channel = getattr(self._consumer.task_consumer, "channel", None)
        qos = getattr(channel, "qos", None)  # kombu's own transports have it, AMQP doesn't need it
        return qos is None or bool(qos.can_consume())

    def end_wait(self, limit: float) -> bool:
        """End a wait of the main thread that takes longer; return whether there was one."""
        if state.active_requests and self._runs_tasks_in_main_thread():
            self._stall.forget()  # it may wait for a mail server, which has its own time-outs
            return False
        wait = self._stall.found(limit)
        if wait is None:
            return False
        end_connection(wait.socket)
        # Its other connections went the same way, most likely.
        self.connect_anew()
        self._stall.forget()
        return True

    def connect_anew(self) -> None:
        """Have the main thread take its connection for lost."""
        self._consumer.call_soon(_lose_connection)

    def _runs_tasks_in_main_thread(self) -> bool:
        return type(self._consumer.pool).__module__ == "celery.concurrency.solo"


def loss() -> Exception:
    """What Celery's loop takes for a lost connection: it begins anew, with nothing in its hands."""
    return ConnectionResetError("mailqueue has the worker connect to its broker anew")


def _lose_connection() -> None:
    raise loss()
