"""A message's turn on a connection, as a test gives it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mailqueue import EmailMessage
from mailqueue.delivery.envelope import Outgoing


class Turn:
    """The turn of a message to these recipients, and the one after it."""

    def __init__(
        self,
        *recipients: str,
        following: Turn | None = None,
        body: str = "Body",
        is_stale: bool = False,
    ) -> None:
        headers = {"Message-ID": f"<{recipients[0]}>", "Date": "Mon, 30 Nov 2026 12:00:00 +0000"}
        message = EmailMessage("Subject", body, "me@example.com", recipients, headers=headers)
        self.outgoing = Outgoing(f"to {recipients[0]}", message, recipients)
        self._following = following
        self._is_stale = is_stale

    def commit(
        self, count: int = 1, meanwhile: Callable[[], object] | None = None
    ) -> Sequence[bool]:
        if meanwhile is not None:
            meanwhile()
        return [not self._is_stale] * count

    def ahead(self) -> Turn | None:
        return self._following

    def look_further(self) -> None:
        pass

    def collect(self) -> None:
        pass
