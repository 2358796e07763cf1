"""The journal's values: what is accepted, what is claimed, what is settled, what is on record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple

from mailqueue.state import State


@dataclass(frozen=True)
class Policy:
    """The journal's times in seconds, and how often a message may lose its worker.

    ``grace`` is how long a queued message may go without a claim before a task is published for it
    again. ``doubt`` is how long an uncertain message waits until it is sent again; None: for a
    person. ``same_within`` is how long an idempotency key is remembered. ``reply_wait`` covers the
    ten minutes that RFC 5321 4.5.3.2.6 gives the final reply.
    """

    lease: float = 60.0
    grace: float = 5.0
    regrace: float = 60.0
    doubt: float | None = 3600.0
    reply_wait: float = 660.0
    same_within: float = 86400.0
    max_lost: int = 5


@dataclass(frozen=True)
class Result:
    """What became of one recipient, and the reply that said so.

    It is ``sent`` or ``failed``, or, where the message ended before, ``cancelled`` or ``expired``.
    """

    state: State
    reply: str


class Entry(NamedTuple):
    """A message as ``accept`` takes it; ``blobs`` are its large attachments by their SHA-256."""

    id: str
    payload: str
    digest: str
    summary: Mapping[str, object]
    send_at: datetime | None = None
    expires_at: datetime | None = None
    idempotency_key: str | None = None
    blobs: Mapping[str, str] = MappingProxyType({})
    priority: str = "normal"


class Acceptance(NamedTuple):
    """The id under which a message is known from now on.

    It needs a task unless it was accepted before, is scheduled, or joins a task that waits.
    """

    id: str
    needs_task: bool


class Accepted(NamedTuple):
    """What became of each message, and whether the journal had never accepted one before."""

    acceptances: list[Acceptance]
    is_first: bool


class Missing(NamedTuple):
    """The names of attachments that have to be stored before anything is accepted."""

    names: list[str]


class Due(NamedTuple):
    """A message for which a task should be published, and with which priority.

    One that has lost a worker ``is_suspect``: if it does so again, what else is in its task has to
    wait for the timer once more.
    """

    id: str
    priority: str
    is_suspect: bool = False


class StateChange(NamedTuple):
    """What a command came to: the message's state after it, None where there is no such message."""

    id: str
    changed: bool
    state: State | None


class Claim(NamedTuple):
    """A message that is this worker's to send until the lease ends.

    ``payload`` is empty where the one that came with the task is the right one. ``tries`` counts
    this attempt and those before it, as far as they count for the retry schedule. ``age`` is in
    seconds since the message was accepted, or since an operator last asked for a retry. ``results``
    is for ``Journal.results_of``.
    """

    id: str
    token: str
    attempt: int
    tries: int
    age: float
    results: str
    payload: str = ""
    is_suspect: bool = False


class Faults(NamedTuple):
    """How many unexplained errors a message has had; ``counted`` of them count against it."""

    faults: int
    counted: int


class Alarm(NamedTuple):
    """What keeps a worker from sending, ``source``, for people."""

    source: str
    reason: str


class Claimed(NamedTuple):
    """The messages that are now the caller's to send, and how many ids were looked at."""

    claims: list[Claim]
    looked_at: int


class Taken(NamedTuple):
    """The messages that are now the caller's to send, and how many need another task."""

    claims: list[Claim]
    left: int


class Advanced(NamedTuple):
    """Whether each result was recorded, and whether each final dot may be sent.

    ``urgent`` levels of priority, from the highest on, have what is to go before others.
    """

    recorded: list[bool]
    may_commit: list[bool]
    urgent: int = 0


@dataclass(frozen=True)
class Settlement:
    """What an attempt came to. ``delay`` is in seconds until the next look, None for never.

    ``replies`` are those to recipients who didn't get the message in this attempt.
    """

    state: State
    reply: str
    results: Mapping[str, Result] = field(default_factory=dict)
    delay: float | None = None
    replies: Mapping[str, str] = field(default_factory=dict)


class SettledClaim(NamedTuple):
    """A claim's end, as ``settle`` records it."""

    claim: Claim
    settlement: Settlement
    worker: str = ""


class InHand(NamedTuple):
    """A message that is being sent; ``updated`` is when it entered its state, in milliseconds."""

    id: str
    state: State
    updated: int


class ServerClock(NamedTuple):
    """What the server's clock says, what the journal adds, until when it went evenly for sure.

    All are in seconds.
    """

    time: float
    offset: float
    seen: float

    @property
    def journal_time(self) -> float:
        """What time it is for the journal, which never goes back (clock.lua)."""
        return max(self.time + self.offset, self.seen)


class Beat(NamedTuple):
    """What a worker's timer said lately, ``age`` seconds ago.

    ``queues`` are those that it takes tasks from just now, ``mailers`` those that it uses. Both are
    None where it is of an earlier version, which says neither.
    """

    worker: str
    age: float
    queues: tuple[str, ...] | None = None
    mailers: tuple[str, ...] | None = None

    def takes(self, queue: str) -> bool:
        """Whether it takes tasks from that queue, as far as is known."""
        return self.queues is None or queue in self.queues


class Pulse(NamedTuple):
    """Whether a queue moves. Times are seconds until now; None: there is none, or it never was.

    ``beats`` are of all workers that live, whichever queue they take. ``waiting`` messages could be
    sent by now, the oldest for ``oldest`` seconds; ``in_hand`` are being sent, and the one that is
    longest in its state has been for ``longest``.
    """

    beats: list[Beat]
    waiting: int = 0
    oldest: float | None = None
    claimed: float | None = None
    settled: float | None = None
    in_hand: int = 0
    longest: float | None = None


@dataclass(frozen=True)
class Attempt:
    """One line of a message's history; ``replies`` as in ``Settlement``."""

    number: int
    at: datetime
    state: State
    reply: str
    worker: str = ""
    replies: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Record:
    """All that the journal knows of one message.

    ``results`` are those of recipients for whom nothing more is planned, of all once the message
    has ended. ``replies`` are the newest to the others, as far as they had any.
    """

    id: str
    queue: str
    state: State
    subject: str
    sender: str
    recipients: tuple[str, ...]
    results: Mapping[str, Result]
    attempts: int
    reply: str
    created: datetime
    updated: datetime
    due: datetime | None
    history: tuple[Attempt, ...]
    has_payload: bool
    replies: Mapping[str, str]
    priority: str
