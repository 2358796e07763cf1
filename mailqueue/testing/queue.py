"""A queue of a test's own."""

from __future__ import annotations

from collections import Counter
from typing import Any

from mailqueue.delivery.batch import Item
from mailqueue.delivery.connection import Connection, Limits
from mailqueue.delivery.executor import Delivery
from mailqueue.delivery.opening import open_transport
from mailqueue.delivery.retry import RetryPolicy
from mailqueue.monitor import report
from mailqueue.queue.journal import open_journal
from mailqueue.queue.options import Priority
from mailqueue.state import State


class MailQueue:
    """A queue of one's own, whose worker is called when a test says so.

    Messages go through payload and journal, as in earnest, on a private Valkey; ``deliver`` hands
    them to the locmem backend, so that they arrive in ``mailqueue.outbox``.
    """

    @property
    def queued(self) -> list[dict[str, Any]]:
        """The messages that wait: queued, scheduled, retrying or held."""
        waiting = [State.QUEUED, State.SCHEDULED, State.RETRYING, State.HELD]
        return [found for state in waiting for found in report.find(report.Filter(state))]

    def deliver(self) -> Counter[str]:
        """Deliver what is queued; return how many messages came to which state.

        It goes by priority, and then first in, first out.
        """
        journal = open_journal()
        limits = Limits(max_messages=1000, max_age=600, idle=60)
        connection = Connection(open_transport, limits)
        delivery = Delivery(journal, connection, RetryPolicy((60.0,), max_age=3600, doubt=None))
        try:
            records = journal.read(list(journal.ids(State.QUEUED)))
            records.sort(key=lambda record: list(Priority).index(Priority(record.priority)))
            return delivery.run([Item(record.id) for record in records])
        finally:
            connection.close()

    def fate(self, message: Any) -> dict[str, Any]:
        """All that is known of a message that was sent to the queue."""
        return report.show(message.mailqueue_id)
