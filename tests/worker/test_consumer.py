"""A worker's timer knows what its consumer takes just now."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from kombu import Connection, Consumer, Queue

from mailqueue.worker.consumer import queues_taken


def consumer(task_consumer: Any, connection: Any = "connected") -> Any:
    return SimpleNamespace(connection=connection, task_consumer=task_consumer)


def test_what_is_cancelled_or_added_shows_at_once() -> None:
    """As `cancel_consumer` and `add_consumer` do it."""
    with Connection("memory://") as connection, connection.channel() as channel:
        taker = Consumer(channel, [Queue("mailqueue"), Queue("other")], auto_declare=True)
        assert queues_taken(consumer(taker)) == []
        taker.consume()
        assert queues_taken(consumer(taker)) == ["mailqueue", "other"]
        taker.cancel_by_queue("mailqueue")
        assert queues_taken(consumer(taker)) == ["other"]
        taker.add_queue(Queue("celery"))
        taker.consume()
        assert queues_taken(consumer(taker)) == ["celery", "other"]
        assert queues_taken(consumer(taker, connection=None)) == []
        taker.cancel()
        assert queues_taken(consumer(taker)) == []


def test_a_worker_without_a_connection_takes_nothing() -> None:
    """Its consumer has none of tasks while it connects anew."""
    assert queues_taken(consumer(None)) == []
