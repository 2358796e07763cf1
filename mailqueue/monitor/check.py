"""Whether everything that mail needs is there and safe, before the first message is sent."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

from mailqueue.conf import settings
from mailqueue.conf.server import journal_url, redact
from mailqueue.delivery.opening import mailer_name, open_transport
from mailqueue.delivery.smtp.transport import SmtpTransport
from mailqueue.delivery.trouble import ServerTrouble
from mailqueue.errors import JournalUnavailable, MailqueueError
from mailqueue.queue.broker import reach_broker
from mailqueue.queue.journal import NO_FSYNC, open_journal, open_journals
from mailqueue.queue.spool import current_spool
from mailqueue.store.opening import open_store

from .health import look, problems_of_server
from .judgement import problems_of_workers
from .neighbour import warnings_of_neighbours
from .subject import subject

_PATIENCE = 10.0  # seconds for each step of the conversation with the mail server
_OLDEST_REDIS = (7, 0)  # what the tests run on; a Valkey says 7.2 or later of itself


def check(
    server: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> dict[str, Any]:
    """Look at settings, spool, journal, broker, workers and mail server; in ``server()`` but two.

    Each has a text that says what was looked at, a list of problems, empty where all is well, and
    one of warnings. ``subject`` says which journal and settings that is of. While the settings
    can't be read, nothing else is looked at.
    """
    parts = [_part("settings", _settings)]
    if not parts[0]["problems"]:
        parts.append(_part("spool", _spool))
        with server():
            parts += [
                _part("journal", _journal),
                _part("broker", _broker),
                _part("workers", _workers),
                _part("mail server", _mail_server),
            ]
    is_well = not any(part["problems"] for part in parts)
    return {"ok": is_well, "subject": subject(), "checks": parts}


@dataclass(frozen=True)
class _Look:
    found: str = ""
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def _part(name: str, look: Callable[[], _Look]) -> dict[str, Any]:
    try:
        found = look()
    except MailqueueError as error:
        found = _Look(problems=[str(error)])
    except Exception as error:  # noqa: BLE001 - kombu, and strangers' backends, raise what they like
        found = _Look(problems=[f"{type(error).__name__}: {error}"])
    return {"name": name, **asdict(found)}


def _settings() -> _Look:
    settings.check()
    return _Look("every value can be read")


def _spool() -> _Look:
    spool = current_spool()
    spool.check()
    return _Look(f"{spool.directory}, ON_OUTAGE {settings.MAILQUEUE.ON_OUTAGE}")


def _journal() -> _Look:
    journal = open_journal()
    server = journal.server()
    problems = [*problems_of_server(server), *_problem_of_version(server)]
    problems += filter(None, [journal.obstacle()])
    durability = settings.MAILQUEUE.DURABILITY
    if durability == "fsync" and not journal.can_fsync():
        problems.append(NO_FSYNC)
    name = "Valkey" if "valkey_version" in server else "Redis"
    version = server.get("valkey_version") or server.get("redis_version", "")
    where = redact(journal_url())
    found = f"{name} {version} at {where}, DURABILITY {durability}"
    queues = [journal.queue for journal in open_journals()]
    return _Look(found, problems, warnings_of_neighbours(open_store().client, queues))


def _problem_of_version(server: Mapping[str, Any]) -> Iterator[str]:
    found = tuple(map(int, re.findall(r"\d+", str(server.get("redis_version", "")))[:2]))
    if found and found < _OLDEST_REDIS:
        yield f"Redis {server['redis_version']} is too old: install 7.0 or later, or Valkey"


def _broker() -> _Look:
    return _Look(reach_broker())


def _workers() -> _Look:
    """Who takes the queue of the settings; before mail there need be nobody yet."""
    try:
        facts = look(open_journals())
    except JournalUnavailable:
        return _Look("nothing is known of them without the journal")
    own = facts.queues[0]
    if not facts.beats:
        return _Look("none to judge", warnings=["no worker lives yet: start `mailqueue worker`"])
    names = ", ".join(beat.worker for beat in own.takers)
    return _Look(f"{names} takes from the queue {own.name!r}", problems_of_workers(facts))


def _mail_server() -> _Look:
    """Open the connection as a worker would, encrypted and logged in as the settings say."""
    try:
        transport = open_transport(_PATIENCE)
    except ServerTrouble as trouble:
        return _Look(problems=[f"{mailer_name()}: {trouble.reply}"])
    transport.close()
    if not isinstance(transport, SmtpTransport):
        return _Look(mailer_name())
    plain = settings.MAILQUEUE.USING is None
    found = [mailer_name(), _encryption() if plain else "", transport.login]
    return _Look(", ".join(filter(None, found)), warnings=list(_warning_of_name(transport)))


def _warning_of_name(transport: SmtpTransport) -> Iterator[str]:
    name = transport.own_name
    if "." not in name and not name.startswith("["):
        yield (
            f"EHLO_NAME {name!r} has no dot, and many servers refuse such a name, some of "
            "them at RCPT only: set this host's name in the DNS, or nothing"
        )


def _encryption() -> str:
    return "TLS" if settings.EMAIL_USE_SSL else "STARTTLS" if settings.EMAIL_USE_TLS else ""
