"""What a Celery worker takes from its broker just now."""

from __future__ import annotations

from typing import Any


def queues_taken(consumer: Any) -> list[str]:
    """The queues that a worker's consumer takes tasks from; none while it has no connection.

    ``-Q`` and the command `cancel_consumer` change them. It may be called from another thread.
    """
    taker = consumer.task_consumer
    if not consumer.connection or taker is None:
        return []
    return sorted(str(queue.name) for queue in taker.queues if taker.consuming_from(queue))
