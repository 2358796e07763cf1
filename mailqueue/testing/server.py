"""A real SMTP server for tests, which keeps what it gets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from types import TracebackType
from typing import Any

from mailqueue.local.smtpd import SmtpServer


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
