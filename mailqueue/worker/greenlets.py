"""The watchdog of a worker whose pool is `gevent`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from celery.bootsteps import RUN
from celery.worker import state

from .stall import Stall
from .watchdog import Watchdog, loss

_ROUND = 5.0  # seconds; each round waits for two of them, and there is the time until the next look


class GreenWatchdog(Watchdog):
    """Looks at the main greenlet. The system can't: one call of it waits for all greenlets.

    Celery's loop for greenlets only logs what `call_soon` has it raise. And only in the other loop
    kombu gives up a connection to Redis whose answer is overdue.
    """

    def __init__(self, consumer: Any, interrupt: Callable[[], object] | None = None) -> None:
        super().__init__(consumer)
        self._interrupt = interrupt or _interrupt_main_greenlet
        self._stalls = Stall(self._rounds_seen), Stall(self._unanswered_since)
        self._rounds = self._rounds_asked = 0

    def connect_anew(self) -> None:
        """Raise what a lost connection does, wherever the main greenlet waits just now."""
        self._interrupt()

    def end_wait(self, limit: float) -> bool:
        """See that the main greenlet goes round, and that Redis answers it."""
        found = [stall.found(limit + _ROUND) for stall in self._stalls]
        # At its end it waits for the messages in hand, which nothing may interrupt.
        is_ending = self._consumer.blueprint.state != RUN
        if found == [None, None] or (is_ending and state.active_requests):
            return False
        self.connect_anew()
        for stall in self._stalls:
            stall.forget()
        return True

    def _rounds_seen(self) -> int | None:
        """How many rounds of its loop were seen; None while it needn't go round."""
        consumer = self._consumer
        # Without a connection it tries to get one, in its own time. With as many tasks in hand as
        # the pool takes, it may wait for one to end.
        if not consumer.connection or len(state.active_requests) >= consumer.pool.limit:
            return None
        if self._rounds_asked == self._rounds:
            self._rounds_asked += 1
            consumer.call_soon(self._count_round)
        return self._rounds

    def _count_round(self) -> None:
        self._rounds = self._rounds_asked

    def _unanswered_since(self) -> float | None:
        """Since when Redis owes an answer; when there is no task, it says so within seconds."""
        channel: Any = getattr(self._consumer.task_consumer, "channel", None)
        if not getattr(channel, "_in_poll", None) or not self.may_take_tasks():
            return None
        since: float | None = channel._brpop_sent_at  # which kombu's own check looks at
        return since


def _interrupt_main_greenlet() -> None:
    hub = import_module("gevent").get_hub()
    hub.loop.run_callback(hub.parent.throw, loss())
