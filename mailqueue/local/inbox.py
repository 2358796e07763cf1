"""A catch-all SMTP inbox for trying things out; it writes a Maildir.

Every message that it accepts lies in the Maildir once, as it was received, below two lines that
hold its envelope: ``Return-Path`` and ``X-Envelope-To``.

Recipient addresses with a tag are refused, to see what happens then:

* ``anyone+451@example.com``, with any 4yz: refused with this code when it is first named after the
  start, accepted from then on (421 also ends the connection, RFC 5321, 3.8);
* ``anyone+550@example.com``, with any 5yz: always refused with this code.
"""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from mailqueue.errors import MailqueueError

from .smtpd import SmtpServer

_HOST_NAME = "inbox.localhost"
_TAG = re.compile(r"\+([45]\d\d)(?!\d)[^@]*@")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class InboxError(MailqueueError):
    """The inbox can't be opened."""


class Inbox:
    """An SMTP server of its own thread, without TLS or AUTH, for this machine only.

    ``port`` 0 takes a free one; after ``start`` the attribute holds what was taken.
    """

    def __init__(self, maildir: Path, host: str = "127.0.0.1", port: int = 0) -> None:
        self.maildir = maildir.absolute()
        self.host = host
        self.port = port
        self._server: SmtpServer | None = None

    def start(self) -> None:
        """Listen; raises InboxError where aiosmtpd is missing or the port is taken."""
        if self._server is not None:
            raise InboxError(f"this inbox listens on port {self.port} already")
        for folder in ("tmp", "new", "cur"):
            (self.maildir / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        server = SmtpServer(_Handler(self.maildir), self.host, self.port, ident="mailqueue inbox")
        try:
            server.start()
        except OSError as error:
            where = f"{self.host}:{self.port}"
            raise InboxError(f"the inbox can't listen on {where}: {error.strerror}") from error
        except ImportError as error:
            raise InboxError('the inbox needs aiosmtpd: pip install "mailqueue[inbox]"') from error
        self._server, self.port = server, server.port

    def stop(self) -> None:
        """Close the port and every connection; a message is stored and answered, or neither."""
        if self._server is not None:
            server, self._server = self._server, None
            server.stop()

    def serve_forever(self) -> None:
        """Wait until ``stop`` is called, or an exception such as KeyboardInterrupt arrives."""
        if self._server is not None:
            self._server.wait()

    def __enter__(self) -> Inbox:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


class _Handler:
    """What aiosmtpd asks: whether a recipient is welcome, and where to put the message."""

    def __init__(self, maildir: Path) -> None:
        self._maildir = maildir
        self._deferred: set[str] = set()
        self._numbers = itertools.count(1)

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: Any, _session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        refusal = self._refuse(address)
        if refusal is None:
            envelope.rcpt_tos.append(address)
            envelope.rcpt_options.extend(options)
            return "250 2.1.5 OK"
        if refusal.startswith("421"):
            # Closed in the loop's next round, after aiosmtpd has written the reply.
            server.loop.call_soon(server.transport.close)
        return refusal

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, _server: Any, _session: Any, envelope: Any
    ) -> str:
        # Written in the loop's own thread: nothing can come between the file and the reply.
        try:
            name = self._store(
                _trace(envelope.mail_from, envelope.rcpt_tos) + envelope.original_content
            )
        except OSError as error:
            return f"451 4.3.0 the inbox can't store the message: {error.strerror}"
        return f"250 2.0.0 OK: stored as {name}"

    async def handle_exception(self, error: Exception) -> str:
        return f"451 4.3.0 {type(error).__name__} in the inbox"

    def _refuse(self, address: str) -> str | None:
        tag = _TAG.search(address)
        if tag is None:
            return None
        shown = _CONTROL.sub("?", address).encode("utf-8", "replace").decode()
        if tag[1].startswith("5"):
            return f"{tag[1]} 5.1.1 <{shown}> no such mailbox"
        if address in self._deferred:
            return None
        self._deferred.add(address)
        return f"{tag[1]} 4.7.1 <{shown}> refused for now, try again later"

    def _store(self, content: bytes) -> str:
        """Write the message to disk, then move it into ``new`` in one step."""
        name = f"{time.time():.6f}.P{os.getpid()}Q{next(self._numbers)}.{_HOST_NAME}"
        path = self._maildir / "tmp" / name
        with path.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        path.rename(self._maildir / "new" / name)
        return name


def _trace(sender: str, recipients: Sequence[str]) -> bytes:
    # aiosmtpd gives the empty return path as "<>".
    lines = f"Return-Path: <{sender.strip('<>')}>", f"X-Envelope-To: {', '.join(recipients)}"
    text = "".join(_CONTROL.sub("?", line) + "\r\n" for line in lines)
    return text.encode("utf-8", "surrogateescape")
