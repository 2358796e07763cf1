"""Messages that a delivery takes from a real journal and hands to a Django-style backend.

Also in a process where Django is configured, which is why nothing here is a fixture.
"""

from __future__ import annotations

import smtplib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from mailqueue import EmailMessage
from mailqueue.backends.base import BaseEmailBackend
from mailqueue.delivery.backend import BackendTransport
from mailqueue.delivery.batch import Item
from mailqueue.delivery.connection import Connection, Limits
from mailqueue.delivery.executor import Delivery
from mailqueue.delivery.opening import open_transport
from mailqueue.delivery.retry import RetryPolicy
from mailqueue.delivery.transport import Transport
from mailqueue.queue import payload
from mailqueue.queue.journal import Entry, Journal, Record
from mailqueue.store.client import connect
from tests.contracts.journals import POLICY


class Scripted(BaseEmailBackend):
    """Does with one message after the other what it is told; at the end of that it sends them.

    A number is what it returns, an error what it raises, and anything else is called first.
    """

    def __init__(self, *script: Any, opens: Any = None, closes: Any = None) -> None:
        super().__init__()
        self.script, self.opens, self.closes = list(script), opens, closes
        self.calls: list[list[Any]] = []
        self.opened = self.closed = 0

    def open(self) -> bool | None:
        self.opened += 1
        return does(self.opens)

    def close(self) -> None:
        self.closed += 1
        does(self.closes)

    def send_messages(self, email_messages: Iterable[Any]) -> int:
        messages = list(email_messages)
        self.calls.append([(m.recipients(), m.message()["To"]) for m in messages])
        return does(self.script.pop(0)) if self.script else len(messages)

    @property
    def served(self) -> list[list[str]]:
        """Whom each call was to serve."""
        return [recipients for call in self.calls for recipients, _ in call]


def does(step: Any) -> Any:
    if isinstance(step, BaseException):
        raise step
    return step() if callable(step) else step


def refused(**replies: tuple[int, bytes]) -> smtplib.SMTPRecipientsRefused:
    """As smtplib raises it, which knows addresses without their names."""
    return smtplib.SMTPRecipientsRefused({f"{a}@example.com": r for a, r in replies.items()})


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
    found = fate_through_settings(journal_url, *to)
    return found["state"], found["results"], found["reply"]


def fate_through_settings(
    journal_url: str, *to: str, rounds: int = 1, queue: str = "q", **attributes: Any
) -> dict[str, Any]:
    """Deliver a message by what the settings name, as often; what is on record then."""
    rig = Rig(Journal(connect(journal_url, 2.0), queue, POLICY))
    message = letter(*to)
    vars(message).update(attributes)
    rig.accept(message)
    rig.run()
    for _ in range(rounds - 1):
        rig.again()
    pause = rig.connection.pause
    rig.connection.close()
    record = rig.record()
    return {
        "state": str(record.state),
        "results": {address: str(result.state) for address, result in record.results.items()},
        "reply": record.reply,
        "attempts": record.attempts,
        "pause": pause,
    }
