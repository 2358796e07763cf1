"""What tests are made of: waiting for a condition, a recording SMTP server, a worker process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from types import TracebackType
from typing import Any

from aiosmtpd.controller import Controller


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
        self.before_reply: Callable[[], None] = lambda: None
        self._controller = Controller(self, hostname="127.0.0.1", port=0)

    def __enter__(self) -> RecordingServer:
        self._controller.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._controller.stop()

    @property
    def port(self) -> int:
        return self._controller.server.sockets[0].getsockname()[1]

    def message_ids(self) -> list[str]:
        """The Message-ID of each message accepted, in order."""
        return [re.search(rb"(?im)^message-id:\s*(\S+)", m.content)[1].decode() for m in self.received]

    async def handle_EHLO(self, server, session, envelope, hostname, responses):  # noqa: N802
        self.sessions += 1
        session.host_name = hostname
        session.number = self.sessions
        return responses

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802
        self.rcpt_commands.append(address)
        waiting = self.replies.get(address)
        if waiting:
            return waiting.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        self.before_reply()
        if self.at_data:
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
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
