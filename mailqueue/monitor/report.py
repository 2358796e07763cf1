"""The queue as plain data: what the command line, and whoever else watches, shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from ..addresses import domain_of
from ..breaker import troubles
from ..conf import home, settings
from ..embedded import is_running
from ..errors import JournalError, MailqueueError
from ..journal import Journal, Record, State, connect, open_journals
from ..mailers import import_backend
from ..sealing import sealer_for
from ..spool import Waiting, current_spool
from ..urls import journal_url, uses_embedded_server

_PAGE = 200
_ALIVE_WITHIN = 10.0  # seconds; a worker's timer beats every second
_SILENT_AFTER = 3.0  # seconds; one that has missed three beats has probably ended
_OVERDUE_BY = 60.0  # seconds; a timer publishes a lost task's messages again after that
# Why a message in that state is not queued again, and what to do instead.
_WHY_NOT_RETRIED = {
    State.QUEUED: "it waits for a worker already",
    State.SCHEDULED: "it is sent when its time comes, {due}",
    State.SENDING: (
        "a worker is sending it; if that worker has died, it is queued again by itself at {due}"
    ),
    State.COMMITTING: (
        "its final dot is being sent, or was, and no reply is on record yet; if its worker has "
        "died, it is uncertain from {due} on, and can be retried then, unless it has arrived"
    ),
    State.HELD: "`mailqueue resume {id}` queues it",
    State.SENT: "every recipient has it, and what is sent is never sent again",
    State.CANCELLED: "its content is gone; the program has to send it anew",
}


@dataclass(frozen=True)
class Filter:
    """Which messages to list; None leaves a field open."""

    state: State | None = None
    to: str | None = None
    domain: str | None = None

    def matches(self, record: Record) -> bool:
        """Whether the record is one of those asked for."""
        if self.to is not None and not any(self.to.lower() in a.lower() for a in record.recipients):
            return False
        return self.domain is None or any(
            domain_of(a) == self.domain.lower() for a in record.recipients
        )


def status() -> dict[str, Any]:
    """How many messages are in each state, who works on them, and how many were ever accepted.

    ``silent`` are those of the workers that have probably ended. ``spool`` counts the files of
    this machine's spool; None where it may not be read.
    """
    waiting = _spooled()
    return {
        "queues": [_status_of(journal) for journal in open_journals()],
        "mailers": mailers(),
        "spool": waiting and asdict(waiting),
        "warnings": list(_warnings()),
    }


def mailers() -> list[dict[str, Any]]:
    """The mailers that are not used now, and why; empty when all is well."""
    options = settings.MAILQUEUE
    client = connect(journal_url(), options.ENQUEUE_TIMEOUT)
    return [
        {
            "mailer": trouble.mailer,
            "alarm": trouble.alarm,
            "reason": trouble.reason,
            "failures": trouble.failures,
            "since": _iso(trouble.since),
            "not_before": _iso(trouble.not_before),
        }
        for trouble in troubles(client, sealer_for(tuple(options.SECRET_KEYS)))
    ]


def _warnings() -> Iterator[str]:
    """What keeps programs with these settings from sending at all."""
    path = settings.EMAIL_BACKEND
    try:
        if not settings.MAILERS:
            import_backend(path)
    except Exception as error:  # noqa: BLE001 - a stranger's module raises what it likes
        yield f"EMAIL_BACKEND = {path!r} can't be imported ({error}), so nothing can be sent by it"


def _spooled() -> Waiting | None:
    try:
        return current_spool().waiting()
    except OSError:
        return None


def flush_spool() -> dict[str, Any]:
    """Hand the spool to the journal: what it took, how many files remain, and why."""
    spool = current_spool()
    found = asdict(spool.replay())
    try:
        waiting = spool.waiting()
    except OSError:
        return found | {"remaining": None}
    return found | {"remaining": waiting.messages + waiting.results}


def _status_of(journal: Journal) -> dict[str, Any]:
    workers, overdue = journal.pulse(alive_within=_ALIVE_WITHIN, overdue_by=_OVERDUE_BY)
    beating, _ = journal.pulse(alive_within=_SILENT_AFTER, overdue_by=_OVERDUE_BY)
    return {
        "queue": journal.queue,
        "states": {state.value: count for state, count in journal.counts().items()},
        "totals": journal.totals(),
        "overdue": overdue,
        "workers": workers,
        "silent": [worker for worker in workers if worker not in beating],
    }


def find(wanted: Filter, limit: int | None = None) -> list[dict[str, Any]]:
    """The messages that match, the newest change first within each state."""
    return [as_data(record) for record in islice(_matching(wanted), limit)]


def _matching(wanted: Filter) -> Iterator[Record]:
    for journal in open_journals():
        for state in [wanted.state] if wanted.state else State:
            for page in _pages(journal.ids(state, newest_first=True)):
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


def retry(ids: Iterable[str]) -> list[str]:
    """Queue these messages again; return those for which that was possible."""
    wanted = list(ids)
    return [id_ for journal in open_journals() for id_ in journal.retry(wanted)]


def why_not_retried(id_: str) -> str:
    """In words, why a message could not be queued again, and what to do."""
    try:
        found = show(id_)
    except JournalError as error:
        return str(error)
    reason = _WHY_NOT_RETRIED.get(State(found["state"]), "it has changed just now: try again")
    return f"{id_} is {found['state']}: {reason.format(**found)}"


def retry_matching(wanted: Filter) -> list[str]:
    """Queue again all failed and partly failed messages that match."""
    states = [State.FAILED, State.PARTIAL]
    chosen = [Filter(state, wanted.to, wanted.domain) for state in states]
    return retry([record.id for one in chosen for record in _matching(one)])


def health() -> dict[str, Any]:
    """Whether mail is moving: journal reachable and safe, a worker alive, nothing overdue."""
    if uses_embedded_server() and not is_running(home()):
        problem = (
            f"the embedded server in {home()} isn't running: start it with `mailqueue up`, "
            "or name another server in MAILQUEUE['BROKER_URL']"
        )
        return {"ok": False, "problems": [problem]}
    problems: list[str] = []
    try:
        for journal in open_journals():
            problems += _problems_of(journal)
        problems += [
            f"the mailer {mailer['mailer']} can't be used, and that is our own mistake: "
            f"{mailer['reason']}"
            for mailer in mailers()
            if mailer["alarm"]
        ]
    except MailqueueError as error:
        problems.append(str(error))
    problems += _problems_of_spool()
    return {"ok": not problems, "problems": problems}


def _problems_of(journal: Journal) -> Iterator[str]:
    yield from problems_of_server(journal.server())
    found = _status_of(journal)
    if not found["workers"]:
        yield f"no worker looks after the queue {journal.queue!r}: start `mailqueue worker`"
    if found["overdue"]:
        yield (
            f"{found['overdue']} messages of the queue {journal.queue!r} are overdue by more than "
            f"{_OVERDUE_BY:.0f} s"
        )


def problems_of_server(server: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the journal's server, by what it says of itself."""
    policy = server.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        yield (
            "the journal's server may evict messages: "
            f"set its maxmemory-policy to noeviction instead of {policy}"
        )
    if not server.get("aof_enabled"):
        yield "the journal's server keeps no append-only file: set its appendonly to yes"


def _problems_of_spool() -> Iterator[str]:
    waiting, directory = _spooled(), current_spool().directory
    if waiting is None:
        yield f"the spool {directory} can't be read: it belongs to somebody else"
        return
    if waiting.oldest > _OVERDUE_BY:
        count = waiting.messages + waiting.results
        yield (
            f"{count} messages or results have waited in {directory} for up to "
            f"{waiting.oldest:.0f} s: start a worker on this machine, or `mailqueue spool flush`"
        )
    if waiting.damaged:
        yield f"{waiting.damaged} damaged files lie in {directory}: see what they hold, remove them"


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
            }
            for attempt in record.history
        ],
    }


def _recipient(record: Record, address: str) -> dict[str, Any]:
    result = record.results.get(address)
    if result is None:
        return {"address": address, "state": "waiting", "reply": ""}
    return {"address": address, "state": result.state.value, "reply": result.reply}


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat(timespec="milliseconds")
