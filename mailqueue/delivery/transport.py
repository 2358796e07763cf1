"""The seam between delivery and whatever carries the mail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from .envelope import Outgoing
from .outcome import Outcome


class Turn(Protocol):
    """A message's turn on the connection."""

    @property
    def outgoing(self) -> Outgoing:
        """The message."""

    def commit(
        self, count: int = 1, meanwhile: Callable[[], object] | None = None
    ) -> Sequence[bool]:
        """Ask, at the last moment where it can still be stopped, whether it may be sent.

        The same for those after it, ``count`` in all. All results so far are on record then; with
        a count of 0 it does nothing else. ``meanwhile`` is called while the answer travels, and
        once more where the question had to be repeated.
        """

    def ahead(self) -> Turn | None:
        """The turn that comes next, where it may be prepared while this one lasts."""

    def look_further(self) -> None:
        """Ask for more turns; ``collect`` is called before anything that may take long."""

    def collect(self) -> None:
        """Learn which turns there are more."""


class Transport(Protocol):
    """An open connection that messages are delivered over, one after the other."""

    def deliver(self, turn: Turn, *, room: int = 1) -> Outcome:
        """Send one message, the first of ``room`` at most; those after it may be begun already."""

    def has_begun(self, outgoing: Outgoing) -> bool:
        """Whether that message is under way, or its transaction open, with its content to come."""

    def is_ready(self, outgoing: Outgoing) -> bool:
        """Whether that message's commit, or its reply, is what comes first."""

    def is_busy(self) -> bool:
        """Whether messages are under way, so that to close would leave them in doubt."""

    def is_usable(self) -> bool:
        """Whether the connection, after a pause, still is what it was."""

    @property
    def is_encrypted(self) -> bool:
        """Whether it is, or was to the last."""

    def forgo_chunks(self) -> None:
        """Send nothing by BDAT; called before the first message."""

    def close(self) -> None:
        """Take leave of the server."""

    def drop(self) -> None:
        """Close without a word."""
