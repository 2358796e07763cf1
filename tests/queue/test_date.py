"""The Date that the queue gives to a message."""

from __future__ import annotations

from email import message_from_bytes

from mailqueue import EmailMessage
from mailqueue.mail.rendering.render import rendered_bytes
from mailqueue.queue import payload


def test_the_date_from_the_queue_is_in_utc_as_without_it() -> None:
    """Its zone is +0000: -0000 would say that nobody knows it (RFC 5322, 3.3)."""
    message = EmailMessage("Hello", "", "ann@example.com", ["bob@example.com"])
    queued = rendered_bytes(payload.loads(payload.dumps(message, "id")), "id")
    assert message_from_bytes(queued)["Date"].endswith(" +0000")
    assert str(message.message()["Date"]).endswith(" +0000")
