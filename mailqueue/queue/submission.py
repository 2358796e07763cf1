"""A message on its way into the journal."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

from mailqueue.store.sealing import current_sealer

from . import payload
from .earlier import Earlier, End, Likeness
from .journal import Entry
from .options import Options
from .payload.likeness import Said


class Submission(NamedTuple):
    """A message as it was when it was serialized, and what an earlier call left of it."""

    message: Any
    options: Options
    entry: Entry
    said: Said
    earlier: Earlier | None = None

    @property
    def queue(self) -> str:
        """The queue that it goes to."""
        return self.options.queue or ""

    @property
    def likeness(self) -> Likeness:
        """What it says, and how it is to be sent."""
        return Likeness(self.said.likeness, self.options, self.said.set_by)

    @property
    def is_accepted(self) -> bool:
        """Whether a call that failed later has accepted it."""
        return self.earlier is not None and self.earlier.end is End.ACCEPTED

    @property
    def in_doubt(self) -> bool:
        """Whether a call that failed may have accepted it."""
        return self.earlier is not None and self.earlier.end is End.IN_DOUBT

    @property
    def waits(self) -> bool:
        """Whether it is to be sent later; then the timer publishes its task."""
        return self.options.send_at is not None and self.options.send_at > datetime.now(UTC)

    @property
    def is_late(self) -> bool:
        """Whether it is too late to send it; then the journal notes it as expired."""
        return self.options.expires_at is not None and self.options.expires_at <= datetime.now(UTC)

    @property
    def may_go_directly(self) -> bool:
        """Whether sending it now, past the journal, can't make a second copy or break a promise.

        Without the journal nobody knows whether another message stands for its idempotency key.
        """
        return not (
            self.in_doubt or self.waits or self.is_late or self.options.idempotency_key is not None
        )

    def rebuild(self) -> Any:
        """The message as a worker would send it: the same Message-ID and Date at each attempt."""
        text = current_sealer().open(self.entry.payload)
        return payload.loads(text, self.entry.blobs.__getitem__)
