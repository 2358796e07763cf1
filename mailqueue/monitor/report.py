"""The queue as plain data: what the command line, and whoever else watches, shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from mailqueue.conf import settings
from mailqueue.delivery.gate.breaker import troubles
from mailqueue.errors import ImproperlyConfigured, JournalError
from mailqueue.mail.address import domain_of
from mailqueue.mail.routing import import_backend
from mailqueue.queue.journal import Journal, Record, open_journals
from mailqueue.queue.spool import Waiting, current_spool
from mailqueue.state import State
from mailqueue.store.opening import open_store

from .subject import subject

_PAGE = 200
_SILENT_AFTER = 3.0  # seconds; one that has missed three beats has probably ended


@dataclass(frozen=True)
class Filter:
    """Which messages to list; None leaves a field open."""

    state: State | None = None
    to: str | None = None
    domain: str | None = None

    @property
    def looks_inside(self) -> bool:
        """Whether a record has to be read to know if it matches."""
        in_hand = self.state in (State.SENDING, State.COMMITTING)
        return in_hand or self.to is not None or self.domain is not None

    def matches(self, record: Record) -> bool:
        """Whether the record is one of those asked for."""
        if self.state is not None and record.state is not self.state:
            return False
        if self.to is not None and not any(self.to.lower() in a.lower() for a in record.recipients):
            return False
        return self.domain is None or any(
            domain_of(a) == self.domain.lower() for a in record.recipients
        )


def status() -> dict[str, Any]:
    """How many messages are in each state, who works on them, and how many were ever accepted.

    ``subject`` says which journal and settings that is of. ``spool`` counts the files of this
    machine's spool; None where it may not be read.
    """
    waiting = waiting_in_spool()
    return {
        "subject": subject(),
        "queues": [status_of(journal) for journal in open_journals()],
        "mailers": mailers(),
        "spool": waiting and asdict(waiting),
        "warnings": list(_warnings()),
    }


def mailers() -> list[dict[str, Any]]:
    """The mailers that are not used now, and why; empty when all is well."""
    return [
        {
            "mailer": trouble.mailer,
            "alarm": trouble.alarm,
            "reason": trouble.reason,
            "failures": trouble.failures,
            "since": _iso(trouble.since),
            "not_before": _iso(trouble.not_before),
        }
        for trouble in troubles(*open_store())
    ]


def _warnings() -> Iterator[str]:
    """What keeps programs with these settings from sending at all."""
    path = settings.EMAIL_BACKEND
    try:
        if not settings.MAILERS:
            import_backend(path)
    except Exception as error:  # noqa: BLE001 - a stranger's module raises what it likes
        yield f"EMAIL_BACKEND = {path!r} can't be imported ({error}), so nothing can be sent by it"


def waiting_in_spool() -> Waiting | None:
    """What this machine's spool holds; None where there is none, or it may not be read."""
    try:
        return current_spool().waiting()
    except (ImproperlyConfigured, OSError):
        return None


def status_of(journal: Journal) -> dict[str, Any]:
    """The same of one queue.

    ``workers`` take its tasks, ``others`` live and don't; ``silent`` are those of both that have
    probably ended. ``waiting`` messages could be sent by now, the oldest for ``oldest`` seconds;
    ``claimed`` and ``settled`` say how many seconds ago the last claim and the last result were.
    """
    pulse = journal.pulse()
    return {
        "queue": journal.queue,
        "states": {state.value: count for state, count in journal.counts().items()},
        "totals": journal.totals(),
        "workers": [beat.worker for beat in pulse.beats if beat.takes(journal.queue)],
        "others": [beat.worker for beat in pulse.beats if not beat.takes(journal.queue)],
        "silent": [beat.worker for beat in pulse.beats if beat.age > _SILENT_AFTER],
        "waiting": pulse.waiting,
        "oldest": pulse.oldest,
        "claimed": pulse.claimed,
        "settled": pulse.settled,
    }


def find(wanted: Filter, limit: int | None = None) -> list[dict[str, Any]]:
    """The messages that match, the newest change first within each state."""
    most = None if wanted.looks_inside else limit
    return [as_data(record) for record in islice(records(wanted, most), limit)]


def records(wanted: Filter, most: int | None = None) -> Iterator[Record]:
    """The records that match, the newest change first within each state.

    Which those are in a queue is looked up at one moment: none is missed that moves meanwhile, and
    none is there twice. With ``most``, only as many of each state are looked at.
    """
    states = [wanted.state] if wanted.state else list(State)
    for journal in open_journals():
        for page in _pages(journal.ids_at_once(states, most)):
            yield from filter(wanted.matches, journal.read(page))


def _pages(ids: Iterable[str]) -> Iterator[list[str]]:
    iterator = iter(ids)
    while page := list(islice(iterator, _PAGE)):
        yield page


def show(id_: str) -> dict[str, Any]:
    """All that is known of one message. Raises JournalError where there is none of that id."""
    for journal in open_journals():
        for record in journal.read([id_]):
            return as_data(record)
    raise JournalError(f"there is no message {id_!r}; `mailqueue list` shows those there are")


def as_data(record: Record) -> dict[str, Any]:
    """Turn a record into what JSON can carry; times are in ISO 8601, UTC."""
    return {
        "id": record.id,
        "queue": record.queue,
        "state": record.state.value,
        "subject": record.subject,
        "from": record.sender,
        "attempts": record.attempts,
        "reply": record.reply,
        "created": _iso(record.created),
        "updated": _iso(record.updated),
        "due": _iso(record.due),
        "recipients": [_recipient(record, address) for address in record.recipients],
        "history": [
            {
                "attempt": attempt.number,
                "at": _iso(attempt.at),
                "state": attempt.state.value,
                "reply": attempt.reply,
                "worker": attempt.worker,
                "replies": [
                    {"address": address, "reply": reply}
                    for address, reply in attempt.replies.items()
                ],
            }
            for attempt in record.history
        ],
    }


def _recipient(record: Record, address: str) -> dict[str, Any]:
    result = record.results.get(address)
    if result is None:
        reply = record.replies.get(address, "")
        return {"address": address, "state": "waiting", "reply": reply}
    return {"address": address, "state": result.state.value, "reply": result.reply}


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat(timespec="milliseconds")
