"""What became of a message: `mailqueue.fate()`, which any program may ask."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import cast

import mailqueue
from mailqueue.errors import JournalUnavailable
from mailqueue.state import State

from .journal import Attempt, Entry, Record, Result, open_journals
from .spool import current_spool

_AT_ONCE = 200  # records
# In which `due` is the time of the next attempt; in others it is when a lease ends, say.
_AWAITING_A_TIME = (State.SCHEDULED, State.RETRYING, State.UNCERTAIN)


@dataclass(frozen=True)
class Fate:
    """What became of one message, as far as is known now. Times are aware, in UTC.

    ``recipients`` has each address of the envelope with its ``state`` and the server's ``reply``,
    ``""`` where there was none. As long as nothing is decided about a recipient, the state is the
    message's. ``attempts`` counts those that have begun, and ``history`` tells of each that has
    ended. ``next_attempt`` is when a message that waits for its time is tried next; None where
    it goes as soon as a worker is free, and where nothing more is planned. ``is_spooled`` says
    that the journal doesn't know the message yet: it lies in this machine's spool.
    """

    id: str
    queue: str
    state: State
    recipients: Mapping[str, Result]
    attempts: int = 0
    next_attempt: datetime | None = None
    history: tuple[Attempt, ...] = ()
    is_spooled: bool = False


def fate(id_: str) -> Fate | None:
    """What became of the message with that id, its ``mailqueue_id``; None for an unknown one.

    A record is kept for ``KEEP_SENT`` or ``KEEP_FAILED`` after the message's end. With the locmem
    backend, what lies in ``mailqueue.outbox`` was sent.

    Raises JournalUnavailable where the journal can't be asked within about ``ENQUEUE_TIMEOUT``.
    """
    return fates([id_])[id_]


def fates(ids: Iterable[str]) -> dict[str, Fate | None]:
    """The same for many at once, by their ids: two trips to the journal for 200 of one queue."""
    found: dict[str, Fate | None] = dict.fromkeys(ids)
    # The spool first: a message may move from there to the journal, and not back.
    found |= _in_spool(found)
    found |= _in_outbox(found)
    asked = [id_ for id_, one in found.items() if one is None or one.is_spooled]
    try:
        for journal in open_journals() if asked else ():
            for start in range(0, len(asked), _AT_ONCE):
                records = journal.read(asked[start : start + _AT_ONCE])
                found |= {record.id: _of_record(record) for record in records}
    except JournalUnavailable:
        if None in found.values():
            raise
    return found


def _of_record(record: Record) -> Fate:
    return Fate(
        id=record.id,
        queue=record.queue,
        state=record.state,
        recipients={
            address: record.results.get(address)
            or Result(record.state, record.replies.get(address, ""))
            for address in record.recipients
        },
        attempts=record.attempts,
        next_attempt=record.due if record.state in _AWAITING_A_TIME else None,
        history=record.history,
    )


def _in_outbox(ids: Mapping[str, Fate | None]) -> dict[str, Fate]:
    """The fates of what the locmem backend took, which has no journal."""
    return {
        message.mailqueue_id: Fate(
            id=message.mailqueue_id,
            queue="",
            state=State.SENT,
            recipients=dict.fromkeys(message.recipients(), Result(State.SENT, "")),
            attempts=1,
        )
        for message in getattr(mailqueue, "outbox", ())
        if getattr(message, "mailqueue_id", None) in ids
    }


def _in_spool(ids: Iterable[str]) -> dict[str, Fate]:
    """The fates of what this machine keeps while the journal is away."""
    spool = current_spool()
    kept = {id_: spool.find(id_) for id_ in ids} if spool.waits() else {}
    return {id_: _of_kept(*message) for id_, message in kept.items() if message is not None}


def _of_kept(queue: str, entry: Entry) -> Fate:
    state = State.QUEUED if entry.send_at is None else State.SCHEDULED
    recipients = cast("list[str]", entry.summary["to"])
    return Fate(
        id=entry.id,
        queue=queue,
        state=state,
        recipients=dict.fromkeys(recipients, Result(state, "")),
        next_attempt=entry.send_at,
        is_spooled=True,
    )
