"""What tests are made of: waiting for a condition, a recording SMTP server, a worker process."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from types import TracebackType
from typing import Any

from aiosmtpd.smtp import SMTP

from mailqueue.inbox import _Server


def wait_until(
    condition: Callable[[], Any], seconds: float, explain: Callable[[], str] = lambda: ""
) -> None:
    """Return as soon as the condition holds; fail when it doesn't within so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {condition}\n{explain()}")
        time.sleep(0.02)


@dataclass
class Received:
    """One message that the recording server accepted."""

    sender: str
    recipients: list[str]
    content: bytes
    session: int

    @property
    def parsed(self) -> EmailMessage:
        """The message, parsed."""
        return message_from_bytes(self.content, policy=policy.default)


class RecordingServer:
    """A real SMTP server on a free port. ``replies`` scripts what it answers to a recipient.

    Each address maps to replies that are used up one by one; then it is accepted. ``at_data`` are
    the replies to the next messages' ends, likewise.
    """

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.replies: dict[str, list[str]] = {}
        self.at_data: list[str] = []
        self.rcpt_commands: list[str] = []
        self.sessions = 0
        self.refused_content: list[bytes] = []
        self.before_rcpt: Callable[[str], None] = lambda _address: None
        self.before_reply: Callable[[], None] = lambda: None
        self.errors: list[Exception] = []
        self._writers: list[Any] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._server = _Server(SMTP, self, self._listener)

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

    def message_ids(self) -> list[str]:
        """The Message-ID of each message accepted, in order."""
        return [
            re.search(rb"(?im)^message-id:\s*(\S+)", m.content)[1].decode() for m in self.received
        ]

    def close_sessions(self) -> None:
        """Close every connection without a word, and wait until they are closed."""
        for transport in self._writers:
            self._server._loop.call_soon_threadsafe(transport.close)
        wait_until(lambda: all(transport.is_closing() for transport in self._writers), 5)

    async def handle_EHLO(self, server, session, envelope, hostname, responses):  # noqa: N802
        self.sessions += 1
        self._writers.append(server.transport)
        session.host_name = hostname
        session.number = self.sessions
        return responses

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802
        self.rcpt_commands.append(address)
        self.before_rcpt(address)
        waiting = self.replies.get(address)
        if waiting:
            return waiting.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_exception(self, error):
        self.errors.append(error)
        return "451 4.3.0 error in the test's server"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        self.before_reply()
        if self.at_data:
            self.refused_content.append(envelope.content)
            return self.at_data.pop(0)
        self.received.append(
            Received(envelope.mail_from, list(envelope.rcpt_tos), envelope.content, session.number)
        )
        return "250 2.0.0 kept"


@dataclass
class Worker:
    """A worker process in a process group of its own."""

    command: Sequence[str]
    environment: Mapping[str, str]
    cwd: Path
    log: Path
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                self.command,
                env=dict(self.environment),
                cwd=self.cwd,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def is_ready(self) -> bool:
        """Whether it has said so."""
        assert self.process.poll() is None, self.explain()
        return " ready." in self.log.read_text()

    def explain(self) -> str:
        return f"the log of the worker:\n{self.log.read_text()}"

    def children(self) -> list[int]:
        """The processes of its pool."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def stop(self, seconds: float = 30) -> int:
        """Ask it to stop, and wait for it."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def kill(self) -> None:
        """Kill the whole process group at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
