"""Notices a worker that takes no more tasks though it has none, and has it connect anew.

Celery lets a worker hold so many unacknowledged tasks. With Redis as the broker, an acknowledgement
that fails, because its connection was closed just then, leaves its task counted for ever; after as
many of them as it may hold, the worker takes no task any more, and says nothing.
"""

from __future__ import annotations

import logging
from typing import Any

from celery.worker import state

_log = logging.getLogger(__name__)


class Watchdog:
    """Looks at a Celery worker's consumer, from another thread."""

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer
        self._was_deaf = False

    def check(self) -> None:
        """Call it every second: two looks that find the same are no coincidence."""
        is_deaf = not state.reserved_requests and not self._may_take_tasks()
        if is_deaf and self._was_deaf:
            _log.error("the worker takes no tasks: Celery couldn't acknowledge as many as it holds")
            self._consumer.call_soon(_lose_connection)
        self._was_deaf = is_deaf and not self._was_deaf

    def _may_take_tasks(self) -> bool:
        channel = getattr(self._consumer.task_consumer, "channel", None)
        qos = getattr(channel, "qos", None)  # kombu's own transports have it, AMQP doesn't need it
        return qos is None or bool(qos.can_consume())


def _lose_connection() -> None:
    """What Celery's loop takes for a lost connection: it begins anew, with nothing in its hands."""
    raise ConnectionResetError("mailqueue has the worker connect to its broker anew")
