"""Whether everything that mail needs is there and safe, before the first message is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from mailqueue.conf import settings
from mailqueue.conf.server import journal_url, redact
from mailqueue.conf.spool import spool_directory
from mailqueue.delivery.opening import mailer_name, open_transport
from mailqueue.delivery.smtp.transport import SmtpTransport
from mailqueue.delivery.trouble import ServerTrouble
from mailqueue.errors import JournalUnavailable, MailqueueError
from mailqueue.queue.broker import producer_app, reach_broker
from mailqueue.queue.caretaker import caretaker_of
from mailqueue.queue.journal import NO_FSYNC, open_journal
from mailqueue.queue.liveness import shortcomings
from mailqueue.queue.spool import current_spool
from mailqueue.store.opening import open_store

from .health import problems_of_server

_PATIENCE = 10.0  # seconds for each step of the conversation with the mail server


def check(
    server: Callable[[], AbstractContextManager[None]] = nullcontext, *, program: bool = False
) -> dict[str, Any]:
    """Look at settings, spool, journal, broker, mail server; at all but the first in ``server()``.

    Each has a list of problems, empty where all is well, and a text that says what was looked at.
    While the settings can't be read, nothing else is looked at. With ``program``, only what a
    machine needs that sends and runs no worker: no mail server, but somebody who looks after the
    spool.
    """
    parts = [_part("settings", _settings)]
    if not parts[0]["problems"]:
        with server():
            looks = _LOOKS_OF_PROGRAM if program else _LOOKS
            parts += [_part(name, look) for name, look in looks.items()]
    return {"ok": not any(part["problems"] for part in parts), "checks": parts}


def _part(name: str, look: Callable[[], tuple[str, list[str]]]) -> dict[str, Any]:
    try:
        found, problems = look()
    except MailqueueError as error:
        found, problems = "", [str(error)]
    except Exception as error:  # noqa: BLE001 - kombu, and strangers' backends, raise what they like
        found, problems = "", [f"{type(error).__name__}: {error}"]
    return {"name": name, "found": found, "problems": problems}


def _settings() -> tuple[str, list[str]]:
    settings.check()
    return "every value can be read", []


def _spool() -> tuple[str, list[str]]:
    spool = current_spool()
    spool.check()
    return f"{spool.directory}, ON_OUTAGE {settings.MAILQUEUE.ON_OUTAGE}", []


def _spool_of_program() -> tuple[str, list[str]]:
    """Of a program's spool it matters that somebody replays it."""
    if settings.MAILQUEUE.ON_OUTAGE != "spool":
        return f"not used, ON_OUTAGE {settings.MAILQUEUE.ON_OUTAGE}", []
    found, problems = _spool()
    directory = spool_directory()
    try:
        caretaker = caretaker_of(open_store().client, directory)
    except JournalUnavailable:
        return found, problems  # the journal's part says it
    if caretaker is None:
        return found, [
            *problems,
            f"nobody looks after the spool {directory}: run a worker on this machine, as the same "
            "user or with the same SPOOL_DIR, or `mailqueue spool flush` every five minutes",
        ]
    return f"{found}, looked after by {caretaker}", problems


def _journal() -> tuple[str, list[str]]:
    journal = open_journal()
    server = journal.server()
    problems = list(problems_of_server(server))
    problems += filter(None, [journal.obstacle()])
    durability = settings.MAILQUEUE.DURABILITY
    if durability == "fsync" and not journal.can_fsync():
        problems.append(NO_FSYNC)
    name = "Valkey" if "valkey_version" in server else "Redis"
    version = server.get("valkey_version") or server.get("redis_version", "")
    where = redact(journal_url())
    return f"{name} {version} at {where}, DURABILITY {durability}", problems


def _broker() -> tuple[str, list[str]]:
    # Our own application lacks nothing.
    lacking = list(shortcomings(producer_app())) if settings.MAILQUEUE.CELERY_APP else []
    if not lacking:
        return reach_broker(), []
    warning = (
        f"warning: with {', '.join(lacking)} a worker may stand still for minutes, or end, after a "
        "connection that died without a word; docs/operating.md says what to set"
    )
    return f"{reach_broker()}, {warning}", []


def _mail_server() -> tuple[str, list[str]]:
    """Open the connection as a worker would, encrypted and logged in as the settings say."""
    try:
        transport = open_transport(_PATIENCE)
    except ServerTrouble as trouble:
        return "", [f"{mailer_name()}: {trouble.reply}"]
    transport.close()
    if not isinstance(transport, SmtpTransport):
        return mailer_name(), []
    plain = settings.MAILQUEUE.USING is None
    found = [mailer_name(), _encryption() if plain else "", transport.login]
    found += _warning_of_name(transport)
    return ", ".join(filter(None, found)), []


def _warning_of_name(transport: SmtpTransport) -> Iterator[str]:
    name = transport.own_name
    if "." not in name and not name.startswith("["):
        yield (
            f"warning: EHLO_NAME {name!r} has no dot, and many servers refuse such a name, some of "
            "them at RCPT only: set this host's name in the DNS, or nothing"
        )


def _encryption() -> str:
    return "TLS" if settings.EMAIL_USE_SSL else "STARTTLS" if settings.EMAIL_USE_TLS else ""


_LOOKS = {
    "spool": _spool,
    "journal": _journal,
    "broker": _broker,
    "mail server": _mail_server,
}
_LOOKS_OF_PROGRAM = {"spool": _spool_of_program, "journal": _journal, "broker": _broker}
