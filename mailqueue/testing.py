"""For the tests of applications: pytest fixtures, a recording SMTP server, assertions.

In a ``conftest.py``::

    pytest_plugins = ["mailqueue.testing"]

It needs pytest; the fixture ``recording_server`` also needs the extra ``inbox``, and ``mail_queue``
the extra ``embedded``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

import mailqueue

from .batch import Item
from .conf import settings
from .connection import Connection, Limits, open_transport
from .delivery import Delivery
from .embedded import EmbeddedServer
from .journal import State, open_journal
from .monitor import report
from .retry import RetryPolicy
from .smtpd import SmtpServer
from .urls import journal_socket_url

_LOCMEM = "mailqueue.backends.locmem.EmailBackend"
_QUEUE = "mailqueue.backends.queue.EmailBackend"


@dataclass(frozen=True)
class Received:
    """One message that the recording server accepted: its envelope and its content."""

    sender: str
    recipients: list[str]
    content: bytes
    session: int

    @property
    def parsed(self) -> EmailMessage:
        """The message, parsed."""
        return message_from_bytes(self.content, policy=policy.default)


class RecordingServer:
    """A real SMTP server on a free port of this machine, that keeps what it gets.

    ``replies`` scripts what it answers to RCPT: each address maps to replies that are used up one
    by one, then the address is accepted. ``at_data`` are the replies to the next messages' ends.
    ``before_rcpt`` and ``before_reply`` are called in the server's thread before it answers.
    """

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.replies: dict[str, list[str]] = {}
        self.at_data: list[str] = []
        self.rcpt_commands: list[str] = []
        self.refused_content: list[bytes] = []
        self.sessions = 0
        self.before_rcpt: Callable[[str], object] = lambda _address: None
        self.before_reply: Callable[[], object] = lambda: None
        self.errors: list[Exception] = []
        self._transports: list[Any] = []
        self._server = SmtpServer(self)

    @property
    def port(self) -> int:
        """The port on 127.0.0.1."""
        return self._server.port

    def message_ids(self) -> list[str]:
        """The Message-ID of each message accepted, in order."""
        return [str(message.parsed["Message-ID"]) for message in self.received]

    def close_sessions(self) -> None:
        """Close every connection without a word, as a server does that restarts."""
        for transport in self._transports:
            self._server.call(transport.close)

    def __enter__(self) -> RecordingServer:
        self._server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.stop()

    # What aiosmtpd asks its handler.

    async def handle_EHLO(  # noqa: N802
        self, server: Any, session: Any, _envelope: Any, hostname: str, responses: list[str]
    ) -> list[str]:
        self.sessions += 1
        self._transports.append(server.transport)
        session.host_name = hostname
        session.number = self.sessions
        return responses

    async def handle_RCPT(  # noqa: N802
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: list[str]
    ) -> str:
        self.rcpt_commands.append(address)
        self.before_rcpt(address)
        if self.replies.get(address):
            return self.replies[address].pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802
        self, _server: Any, session: Any, envelope: Any
    ) -> str:
        self.before_reply()
        content = envelope.original_content
        if self.at_data:
            self.refused_content.append(content)
            return self.at_data.pop(0)
        recipients = list(envelope.rcpt_tos)
        self.received.append(Received(envelope.mail_from, recipients, content, session.number))
        return "250 2.0.0 kept"

    async def handle_exception(self, error: Exception) -> str:
        self.errors.append(error)
        return "451 4.3.0 error in the recording server"


class MailQueue:
    """A queue of one's own, whose worker is called when a test says so.

    Messages go through payload and journal, as in earnest, on a private Valkey; ``deliver`` hands
    them to the locmem backend, so that they arrive in ``mailqueue.outbox``.
    """

    @property
    def queued(self) -> list[dict[str, Any]]:
        """The messages that wait: queued, scheduled, retrying or held."""
        waiting = [State.QUEUED, State.SCHEDULED, State.RETRYING, State.HELD]
        return [found for state in waiting for found in report.find(report.Filter(state))]

    def deliver(self) -> Counter[str]:
        """Deliver what is queued; return how many messages came to which state."""
        journal = open_journal()
        limits = Limits(max_messages=1000, max_age=600, idle=60)
        connection = Connection(open_transport, limits)
        delivery = Delivery(journal, connection, RetryPolicy((60.0,), max_age=3600, doubt=None))
        try:
            return delivery.run([Item(id_) for id_ in journal.ids(State.QUEUED)])
        finally:
            connection.close()

    def fate(self, message: Any) -> dict[str, Any]:
        """All that is known of a message that was sent to the queue."""
        return report.show(message.mailqueue_id)


@pytest.fixture
def mail_outbox() -> Iterator[list[Any]]:
    """Send all mail of a test to the locmem backend; the list of the messages, empty at first."""
    with settings.overridden(EMAIL_BACKEND=_LOCMEM):
        mailqueue.outbox = []
        yield mailqueue.outbox


@pytest.fixture
def recording_server() -> Iterator[RecordingServer]:
    """A real SMTP server, to which all mail of a test is sent unless it names another backend."""
    with (
        RecordingServer() as server,
        settings.overridden(EMAIL_HOST="127.0.0.1", EMAIL_PORT=server.port),
    ):
        yield server


@pytest.fixture(scope="session")
def _private_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("mailqueue")
    with EmbeddedServer(directory):
        yield directory


@pytest.fixture
def mail_queue(_private_valkey: Path) -> Iterator[MailQueue]:
    """An empty queue, to which all mail of a test is sent."""
    options = {
        "BROKER_URL": "memory://",  # tasks go nowhere: the test is the worker
        "JOURNAL_URL": journal_socket_url(_private_valkey),
        "BACKEND": _LOCMEM,
    }
    with settings.overridden(EMAIL_BACKEND=_QUEUE, MAILQUEUE=options):
        open_journal().forget_everything()
        mailqueue.outbox = []
        yield MailQueue()


def assert_queued(count: int | None = None, **fields: str) -> list[dict[str, Any]]:
    """Assert that messages wait in the queue; return them as `mailqueue show --json` would.

    ``to`` is a part of a recipient's address, ``subject`` a part of the subject. Without ``count``
    there must be at least one.
    """
    waiting = [found for found in MailQueue().queued if _matches(_fields_of(found), fields)]
    return _counted(waiting, count, fields, "queued")


def assert_sent(count: int | None = None, **fields: str) -> list[Any]:
    """Assert that messages lie in ``mailqueue.outbox``; return them. Arguments as assert_queued."""
    sent = [found for found in getattr(mailqueue, "outbox", []) if _matches(_traits(found), fields)]
    return _counted(sent, count, fields, "sent")


def _fields_of(found: Mapping[str, Any]) -> dict[str, str]:
    recipients = " ".join(recipient["address"] for recipient in found["recipients"])
    return {"to": recipients, "subject": found["subject"]}


def _traits(message: Any) -> dict[str, str]:
    return {"to": " ".join(message.recipients()), "subject": str(message.subject)}


def _matches(traits: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    unknown = wanted.keys() - traits.keys()
    if unknown:
        raise TypeError(f"no such field: {', '.join(sorted(unknown))}; there are to and subject")
    return all(re.search(re.escape(wanted[name]), traits[name], re.I) for name in wanted)


def _counted(
    found: list[Any], count: int | None, fields: Mapping[str, str], what: str
) -> list[Any]:
    wanted = "at least one" if count is None else str(count)
    if (count is None and not found) or (count is not None and len(found) != count):
        about = ", ".join(f"{name}={value!r}" for name, value in fields.items()) or "any"
        raise AssertionError(f"{wanted} wanted, {len(found)} {what} ({about})")
    return found
