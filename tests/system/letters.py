"""A letter for the queue, and what became of it."""

from __future__ import annotations

from mailqueue import EmailMessage
from mailqueue.monitor import report
from tests.support import wait_until

# Where kombu keeps tasks of normal priority.
TASKS = "mailqueue\x06\x163"


def fate(message) -> dict:
    """What `mailqueue show` says of it."""
    return report.show(message.mailqueue_id)


def wait_for_state(message, state: str, worker) -> dict:
    """What it says when the message has that state."""
    wait_until(lambda: fate(message)["state"] == state, 20, worker.explain)
    return fate(message)


def letter(to="to@example.com", **changes) -> EmailMessage:
    """A message to one or to several."""
    values = {"subject": "Hello", "body": "A letter", "from_email": "from@example.com"}
    return EmailMessage(**{**values, "to": [to] if isinstance(to, str) else to, **changes})
