"""Whether everything that mail needs is there and safe, before the first message is sent."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from mailqueue.conf import settings
from mailqueue.conf.server import journal_url, redact
from mailqueue.delivery.opening import mailer_name, open_transport
from mailqueue.delivery.smtp.transport import SmtpTransport
from mailqueue.delivery.trouble import ServerTrouble
from mailqueue.errors import MailqueueError
from mailqueue.queue.broker import producer_app, reach_broker
from mailqueue.queue.journal import NO_FSYNC, open_journal
from mailqueue.queue.project import complaints
from mailqueue.queue.publisher import TASK
from mailqueue.queue.spool import current_spool

from .health import problems_of_server

_PATIENCE = 10.0  # seconds for each step of the conversation with the mail server
_OLDEST_REDIS = (7, 0)  # what the tests run on; a Valkey says 7.2 or later of itself


def check(
    server: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> dict[str, Any]:
    """Look at settings, spool, journal, broker and mail server; the last three in ``server()``.

    Each has a list of problems, empty where all is well, and a text that says what was looked at.
    While the settings can't be read, nothing else is looked at.
    """
    parts = [_part("settings", _settings)]
    if not parts[0]["problems"]:
        parts.append(_part("spool", _spool))
        with server():
            parts += [
                _part("journal", _journal),
                _part("broker", _broker),
                _part("mail server", _mail_server),
            ]
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


def _journal() -> tuple[str, list[str]]:
    journal = open_journal()
    server = journal.server()
    problems = [*problems_of_server(server), *_problem_of_version(server)]
    durability = settings.MAILQUEUE.DURABILITY
    if durability == "fsync" and not journal.can_fsync():
        problems.append(NO_FSYNC)
    name = "Valkey" if "valkey_version" in server else "Redis"
    version = server.get("valkey_version") or server.get("redis_version", "")
    where = redact(journal_url())
    return f"{name} {version} at {where}, DURABILITY {durability}", problems


def _problem_of_version(server: Mapping[str, Any]) -> Iterator[str]:
    found = tuple(map(int, re.findall(r"\d+", str(server.get("redis_version", "")))[:2]))
    if found and found < _OLDEST_REDIS:
        yield f"Redis {server['redis_version']} is too old: install 7.0 or later, or Valkey"


def _broker() -> tuple[str, list[str]]:
    return reach_broker(), [*complaints(producer_app(), TASK)]


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
