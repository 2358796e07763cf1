"""Whether mail is moving, and what is in its way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mailqueue.conf import settings
from mailqueue.conf.lookup import home
from mailqueue.conf.server import uses_embedded_server
from mailqueue.conf.spool import spool_directory
from mailqueue.delivery.gate.breaker import troubles
from mailqueue.errors import ImproperlyConfigured, JournalUnavailable, MailqueueError
from mailqueue.local.embedded import is_running
from mailqueue.local.heartbeat import living
from mailqueue.queue.broker import BrokerBlocked, broker_name, count_tasks
from mailqueue.queue.journal import Journal, now_on, open_journal, open_journals
from mailqueue.state import State
from mailqueue.store.opening import open_store
from mailqueue.store.version import problem_of_version

from .judgement import STUCK_AFTER, Facts, Mailer, Queue, problems
from .neighbour import warnings_of_one_database
from .report import waiting_in_spool
from .subject import subject

MOVING, STANDING, UNKNOWN = "moving", "not moving", "unknown"
EXIT_STATUS = {MOVING: 0, STANDING: 1, UNKNOWN: 2}
_UNSENT = (State.QUEUED, State.RETRYING, State.SENDING, State.COMMITTING)


def health() -> dict[str, Any]:
    """Whether mail is moving, as ``verdict``: `moving`, `not moving`, or `unknown`.

    ``problems`` are what is in the way, each with what to do, ``warnings`` what may be one day.
    ``subject`` says which journal and settings that is of. ``ok`` is true where mail moves.
    """
    found: list[str] = []
    warnings: list[str] = []
    try:
        settings.check()
        found += _problems_of_spool()
        _check_embedded()
        found += _problems()
        warnings += warnings_of_one_database()
        verdict = STANDING if found else MOVING
    except MailqueueError as error:
        found.insert(0, str(error))
        verdict = UNKNOWN
    return {
        "ok": verdict == MOVING,
        "verdict": verdict,
        "subject": subject(),
        "problems": found,
        "warnings": warnings,
    }


def live(worker: str | None = None) -> dict[str, Any]:
    """Whether a worker of this machine and user lives, or the one of that name.

    The name is that of `mailqueue status`, or Celery's. No server is asked, so it says nothing of
    whether mail moves.
    """
    found = [one for one in living() if worker in (None, one.worker, one.node)]
    return {"ok": bool(found), "workers": [one._asdict() for one in found]}


def problems_of_server(server: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the journal's server, by what it says of itself."""
    if too_old := problem_of_version(server):
        yield too_old
    policy = server.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        yield (
            "the journal's server may evict messages: "
            f"set its maxmemory-policy to noeviction instead of {policy}"
        )
    if not server.get("aof_enabled"):
        yield "the journal's server keeps no append-only file: set its appendonly to yes"


def _check_embedded() -> None:
    if uses_embedded_server() and not is_running(home()):
        raise JournalUnavailable(
            f"the embedded server in {home()} isn't running: start it with `mailqueue up`, "
            "or name another server in MAILQUEUE['JOURNAL_URL'] and MAILQUEUE['BROKER_URL']"
        )


def _problems() -> list[str]:
    own = open_journal()
    found = list(problems_of_server(own.server()))
    if obstacle := own.obstacle():
        # No worker can say that it is there, so that nothing else can be told.
        return [*found, obstacle]
    journals = open_journals()
    found += problems(look(journals))
    alarms = [alarm for journal in journals for alarm in journal.alarms()]
    return [*found, *(f"{alarm.source}: {alarm.reason}" for alarm in alarms)]


def look(journals: list[Journal]) -> Facts:
    """What there is to judge by, of those queues; the first is that of the settings.

    Raises JournalUnavailable, and ImproperlyConfigured where the broker's settings are wrong.
    """
    tasks: Mapping[str, int] = {}
    broker = ""
    try:
        tasks = count_tasks([journal.queue for journal in journals])
    except ImproperlyConfigured:
        raise
    except BrokerBlocked as error:
        broker = str(error)
    except Exception as error:  # noqa: BLE001 - kombu and its transports raise what they like
        what = f"{broker_name()}: {type(error).__name__}: {error}"
        broker = f"can't be reached, and so no task is taken: {what}"
    queues = [
        _queue(journal, tasks.get(journal.queue), meant=number == 0)
        for number, journal in enumerate(journals)
    ]
    return Facts(queues, _mailers(), broker)


def _queue(journal: Journal, tasks: int | None, *, meant: bool) -> Queue:
    counts = journal.counts()
    unsent = sum(counts[state] for state in _UNSENT)
    return Queue(journal.queue, journal.pulse(), unsent, meant, tasks)


def _mailers() -> list[Mailer]:
    store = open_store()
    now = now_on(store.client)
    return [
        Mailer(one.mailer, one.alarm, one.reason, (now - one.since).total_seconds())
        for one in troubles(*store)
    ]


def _problems_of_spool() -> Iterator[str]:
    try:
        directory = spool_directory()
    except ImproperlyConfigured:
        return  # nothing can be in it; what needs it says so
    waiting = waiting_in_spool()
    if waiting is None:
        yield f"the spool {directory} can't be read: it belongs to somebody else"
        return
    if waiting.oldest > STUCK_AFTER:
        count = waiting.messages + waiting.results
        yield (
            f"{count} messages or results have waited in {directory} for up to "
            f"{waiting.oldest:.0f} s: start a worker on this machine, or `mailqueue spool flush`"
        )
    if waiting.damaged:
        yield f"{waiting.damaged} damaged files lie in {directory}: see what they hold, remove them"
