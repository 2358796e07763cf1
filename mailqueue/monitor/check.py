"""Whether everything that mail needs is there and safe, before the first message is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

from mailqueue.conf import settings
from mailqueue.conf.server import journal_url, redact
from mailqueue.conf.spool import spool_directory
from mailqueue.delivery.opening import mailer_name, open_transport
from mailqueue.delivery.smtp.transport import SmtpTransport
from mailqueue.delivery.trouble import ServerTrouble
from mailqueue.errors import JournalUnavailable, MailqueueError
from mailqueue.queue.broker import BrokerBlocked, broker_name, producer_app, reach_broker
from mailqueue.queue.caretaker import caretaker_of
from mailqueue.queue.journal import NO_FSYNC, Journal, open_journal, open_journals
from mailqueue.queue.liveness import shortcomings
from mailqueue.queue.project import complaints
from mailqueue.queue.publisher import TASK
from mailqueue.queue.spool import current_spool
from mailqueue.store.opening import open_store

from .health import look, problems_of_server
from .judgement import problems_of_workers
from .neighbour import warnings_of_neighbours
from .subject import subject

_PATIENCE = 10.0  # seconds for each step of the conversation with the mail server


def check(
    server: Callable[[], AbstractContextManager[None]] = nullcontext, *, program: bool = False
) -> dict[str, Any]:
    """Look at settings, spool, journal, broker, workers and mail server.

    Each has a text that says what was looked at, a list of problems, empty where all is well, and
    one of warnings. ``subject`` says which journal and settings that is of. While the settings
    can't be read, nothing else is looked at. With ``program``, only what a machine needs that
    sends and runs no worker: no mail server, but somebody who looks after the spool. All but the
    settings is looked at in ``server()``.
    """
    parts = [_part("settings", _settings)]
    if not parts[0]["problems"]:
        with server():
            looks = _LOOKS_OF_PROGRAM if program else _LOOKS
            parts += [_part(name, look) for name, look in looks.items()]
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


def _spool_of_program() -> _Look:
    """Of a program's spool it matters that somebody replays it."""
    if settings.MAILQUEUE.ON_OUTAGE != "spool":
        return _Look(f"not used, ON_OUTAGE {settings.MAILQUEUE.ON_OUTAGE}")
    found, directory = _spool().found, spool_directory()
    try:
        caretaker = caretaker_of(open_store().client, directory)
    except JournalUnavailable:
        return _Look(found)  # the journal's part says it
    if caretaker is None:
        problem = (
            f"nobody looks after the spool {directory}: run a worker on this machine, as the same "
            "user or with the same SPOOL_DIR, or `mailqueue spool flush` every five minutes"
        )
        return _Look(found, [problem])
    return _Look(f"{found}, looked after by {caretaker}")


def _journal() -> _Look:
    journal = open_journal()
    server = journal.server()
    problems = list(problems_of_server(server))
    obstacle = journal.obstacle()
    problems += [obstacle] if obstacle else list(_problems_of_login(journal))
    durability = settings.MAILQUEUE.DURABILITY
    if durability == "fsync" and not journal.can_fsync():
        problems.append(NO_FSYNC)
    name = "Valkey" if "valkey_version" in server else "Redis"
    version = server.get("valkey_version") or server.get("redis_version", "")
    where = redact(journal_url())
    found = f"{name} {version} at {where}, DURABILITY {durability}"
    queues = [journal.queue for journal in open_journals()]
    return _Look(found, problems, warnings_of_neighbours(open_store().client, queues))


def _problems_of_login(journal: Journal) -> Iterator[str]:
    try:
        journal.try_login()
    except JournalUnavailable as error:
        yield f"{error} (the login needs to read, to write, and to call scripts)"


def _broker() -> _Look:
    app = producer_app()
    # Our own application lacks nothing.
    lacking = list(shortcomings(app)) if settings.MAILQUEUE.CELERY_APP else []
    warning = (
        f"with {', '.join(lacking)} a worker may stand still for minutes, or end, after a "
        "connection that died without a word; docs/operating.md says what to set"
    )
    warnings = [warning] if lacking else []
    problems = list(complaints(app, TASK))
    try:
        return _Look(reach_broker(), problems, warnings)
    except BrokerBlocked as error:
        return _Look("", [*problems, f"the broker {error}"], warnings)
    except Exception as error:  # noqa: BLE001 - kombu's transports raise what they like
        return _Look("", [*problems, f"{broker_name()}: {type(error).__name__}: {error}"], warnings)


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
    verb = "takes" if len(own.takers) == 1 else "take"
    return _Look(f"{names} {verb} from the queue {own.name!r}", problems_of_workers(facts))


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


_LOOKS = {
    "spool": _spool,
    "journal": _journal,
    "broker": _broker,
    "workers": _workers,
    "mail server": _mail_server,
}
_LOOKS_OF_PROGRAM = {"spool": _spool_of_program, "journal": _journal, "broker": _broker}
