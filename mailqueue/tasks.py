"""The Celery task that delivers mail. Importing it also connects a worker to the queue."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from celery import shared_task

from mailqueue.conf import settings
from mailqueue.delivery.batch import Item
from mailqueue.delivery.connection import Connection
from mailqueue.delivery.executor import Delivery
from mailqueue.delivery.opening import connection_pool
from mailqueue.delivery.retry import RetryPolicy
from mailqueue.queue.journal import Journal, open_journal
from mailqueue.queue.publisher import TASK, publish, publish_due
from mailqueue.worker import signals
from mailqueue.worker.flag import stopping
from mailqueue.worker.queues import begin_turn
from mailqueue.worker.task import MailTask

# Whoever has the task has the timer: by it alone retries, scheduled and lost messages are sent.
signals.connect()


# Whichever application runs it, its options and its class of tasks are not this one's.
@shared_task(name=TASK, base=MailTask)  # type: ignore[untyped-decorator]
def deliver(queue: str, messages: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Deliver the messages that the task names, then others of its queue up to ``BATCH_SIZE``.

    The others are those that joined a task, or that one behind it names. The task may be lost,
    late, doubled or forged: the journal says what may be sent, and holds the digest of what was
    accepted. Returns how many messages came to which state.
    """
    with settings.MAILQUEUE.steady():
        items = [Item(str(m["id"]), str(m.get("payload", ""))) for m in messages]
        with connection_pool().borrow() as connection:
            return _deliver(open_journal(str(queue)), connection, items)


def _deliver(journal: Journal, connection: Connection, items: Sequence[Item]) -> dict[str, int]:
    delivery = _delivery(journal, connection)
    room = max(settings.MAILQUEUE.BATCH_SIZE - len(items), 0)
    tally = {} if connection.is_paused() else dict(delivery.run(items, room))
    if connection.pause:
        # The timer publishes tasks for them again as soon as the mailer may be tried.
        journal.put_back([item.id for item in items])
    elif delivery.rest:
        # There was no time for them, or the worker is to stop, or something else has its turn.
        journal.put_back(delivery.rest)
        if not stopping.is_set():  # as the timer would, of which nobody here waits for the round
            publish_due(journal.queue, journal.release())
    elif delivery.left:
        publish(journal.queue, [])
    return tally


def _delivery(journal: Journal, connection: Connection) -> Delivery:
    config = settings.MAILQUEUE
    return Delivery(
        journal,
        connection,
        RetryPolicy(config.RETRY, config.MAX_AGE, journal.policy.doubt),
        worker=f"{socket.gethostname()}:{os.getpid()}",
        stopping=stopping.is_set,
        gives_way=begin_turn(journal),
    )
