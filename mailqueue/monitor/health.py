"""Whether mail is moving, and what is in its way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mailqueue.conf.lookup import home
from mailqueue.conf.server import uses_embedded_server
from mailqueue.errors import MailqueueError
from mailqueue.local.embedded import is_running
from mailqueue.queue.journal import Journal, open_journals
from mailqueue.queue.spool import current_spool

from .report import OVERDUE_BY, mailers, status_of, waiting_in_spool


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
    if obstacle := journal.obstacle():
        # No worker can say that it is there, so that nothing else can be told.
        yield obstacle
        return
    found = status_of(journal)
    if not found["workers"]:
        yield f"no worker looks after the queue {journal.queue!r}: start `mailqueue worker`"
    if found["overdue"]:
        yield (
            f"{found['overdue']} messages of the queue {journal.queue!r} are overdue by more than "
            f"{OVERDUE_BY:.0f} s"
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
    waiting, directory = waiting_in_spool(), current_spool().directory
    if waiting is None:
        yield f"the spool {directory} can't be read: it belongs to somebody else"
        return
    if waiting.oldest > OVERDUE_BY:
        count = waiting.messages + waiting.results
        yield (
            f"{count} messages or results have waited in {directory} for up to "
            f"{waiting.oldest:.0f} s: start a worker on this machine, or `mailqueue spool flush`"
        )
    if waiting.damaged:
        yield f"{waiting.damaged} damaged files lie in {directory}: see what they hold, remove them"
