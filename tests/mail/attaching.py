"""Messages with attachments, and what a reader finds of them."""

from __future__ import annotations

from email import message_from_bytes, policy

from mailqueue import EmailMessage


def parts(message: EmailMessage):
    """The attachments that a reader finds."""
    rendered = message.message().as_bytes()
    return list(message_from_bytes(rendered, policy=policy.default).iter_attachments())


def with_part(part) -> EmailMessage:
    """A message with that in its list of attachments."""
    message = EmailMessage("s", "b")
    message.attachments.append(part)
    return message
