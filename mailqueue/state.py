"""A message's states, spelled the same everywhere."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """A message's state, spelled the same everywhere; the drawing is in ``docs/design.md``."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    SENDING = "sending"
    COMMITTING = "committing"
    RETRYING = "retrying"
    UNCERTAIN = "uncertain"
    HELD = "held"
    SENT = "sent"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def final(self) -> bool:
        """Whether nothing happens to the message any more unless a person asks for it."""
        return self in FINAL


# The journal's script says the same, in `queue/journal/lua/states.lua`.
WAITING = (State.QUEUED, State.SCHEDULED, State.RETRYING, State.UNCERTAIN)
FINAL = (State.SENT, State.PARTIAL, State.FAILED, State.CANCELLED, State.EXPIRED)
