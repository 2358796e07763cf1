"""Messages that a delivery takes from a real journal and hands to a Django-style backend.

Also in a process where Django is configured, which is why nothing here is a fixture.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mailqueue import EmailMessage, payload
from mailqueue.batch import Item
from mailqueue.connection import Connection, Limits, open_transport
from mailqueue.delivery import Delivery
from mailqueue.journal import Entry, Journal, Record, connect
from mailqueue.retry import RetryPolicy
from mailqueue.transport import BackendTransport, Transport
from tests.contracts.journals import POLICY


def letter(*to: str) -> EmailMessage:
    return EmailMessage("Hello", "A letter", "from@example.com", list(to or ["to@example.com"]))


@dataclass
class Rig:
    """A journal, and a worker's way of delivering what waits in it; a retry is due at once."""

    journal: Journal
    open_transport: Callable[[], Transport] = open_transport
    retries: int = 2

    def __post_init__(self) -> None:
        # Whose pauses last: on a clock that stands still.
        self.connection = Connection(self.open_transport, Limits(1000, 1000, 1000), lambda: 1.0)
        self.policy = RetryPolicy([0.0] * self.retries, 1000, 30)

    @classmethod
    def over(cls, backend: Any, journal: Journal, retries: int = 2) -> Rig:
        """Whose connection is over that backend, however often it opens."""
        return cls(journal, lambda: BackendTransport(backend), retries)

    def accept(self, *messages: Any) -> None:
        """Have the journal take them, as m0, m1 and so on."""
        self.journal.accept([entry(f"m{n}", message) for n, message in enumerate(messages)])

    def run(self, *ids: str) -> Counter[str]:
        """Deliver those messages, by default the first, as a task does that names them."""
        delivery = Delivery(self.journal, self.connection, self.policy, chance=lambda: 0.5)
        return delivery.run([Item(id_) for id_ in ids or ("m0",)])

    def again(self) -> Counter[str]:
        """Deliver what is due by now."""
        return self.run(*[due.id for due in self.journal.release()])

    def record(self, id_: str = "m0") -> Record:
        """What the journal knows of it."""
        return self.journal.read([id_])[0]


def entry(id_: str, message: Any) -> Entry:
    text = payload.dumps(message, id_)
    summary = payload.summary(message, message.recipients())
    return Entry(id_, text, payload.digest(text), summary)


def through_settings(journal_url: str, *to: str) -> tuple[str, dict[str, str], str]:
    """Deliver a message by what the settings name: its state, each recipient's, the reply."""
    rig = Rig(Journal(connect(journal_url, 2.0), "q", POLICY))
    rig.accept(letter(*to))
    rig.run()
    rig.connection.close()
    record = rig.record()
    states = {address: str(result.state) for address, result in record.results.items()}
    return str(record.state), states, record.reply
