"""A message that travels as MIME, because its class builds it in a way of its own."""

from __future__ import annotations

from collections.abc import Sequence
from email import message_from_bytes, policy
from email.message import Message


class RenderedMessage:
    """A message that travelled as MIME, because its class builds it in a way of its own."""

    def __init__(self, content: bytes, from_email: str, recipients: Sequence[str]) -> None:
        self._content = content
        self.from_email = from_email
        self._recipients = list(recipients)

    def recipients(self) -> list[str]:
        """The addresses of the envelope."""
        return list(self._recipients)

    def message(self) -> Message:
        """The MIME message, parsed."""
        # Not folded anew: that would break a signature over the headers, such as DKIM's.
        return message_from_bytes(self._content, policy=policy.default.clone(refold_source="none"))
