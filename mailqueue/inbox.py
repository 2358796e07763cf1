"""A catch-all SMTP inbox for trying things out; it writes a Maildir.

Every message that it accepts lies in the Maildir once, as it was received, below two lines that
hold its envelope: ``Return-Path`` and ``X-Envelope-To``.

Recipient addresses with a tag are refused, to see what happens then:

* ``anyone+451@example.com``, with any 4yz: refused with this code when it is first named after the
  start, accepted from then on (421 also ends the connection, RFC 5321, 3.8);
* ``anyone+550@example.com``, with any 5yz: always refused with this code.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import socket
import threading
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

from .errors import MailqueueError

_SIZE_LIMIT = 100 * 1024**2  # bytes; twice what servers commonly take
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
        self._server: _Server | None = None

    def start(self) -> None:
        """Listen; raises InboxError where aiosmtpd is missing or the port is taken."""
        if self._server is not None:
            raise InboxError(f"this inbox listens on port {self.port} already")
        smtp = _smtp_class()
        for folder in ("tmp", "new", "cur"):
            (self.maildir / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        listener = self._listen()
        self.port = listener.getsockname()[1]
        self._server = _Server(smtp, _Handler(self.maildir), listener)
        self._server.start()

    def stop(self) -> None:
        """Close the port and every connection; a message is stored and answered, or neither."""
        if self._server is not None:
            server, self._server = self._server, None
            server.stop()

    def serve_forever(self) -> None:
        """Wait until ``stop`` is called, or an exception such as KeyboardInterrupt arrives."""
        if self._server is not None:
            self._server.ended.wait()

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

    def _listen(self) -> socket.socket:
        try:
            return socket.create_server((self.host, self.port))
        except OSError as error:
            raise InboxError(
                f"the inbox can't listen on {self.host}:{self.port}: {error.strerror}"
            ) from error


class _Server:
    """The server's thread and its event loop.

    aiosmtpd's Controller can't take port 0, and can't stop while a client is connected: since
    Python 3.12 ``wait_closed`` waits for the clients too.
    """

    def __init__(self, smtp: Any, handler: _Handler, listener: socket.socket) -> None:
        self.ended = threading.Event()
        self._smtp = smtp
        self._handler = handler
        self._listener = listener
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._connections: set[Any] = set()
        self._thread = threading.Thread(target=self._run, name="mailqueue-inbox", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        if not self.ended.is_set():
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self.ended.set()
            self._loop.close()

    async def _serve(self) -> None:
        server = await self._loop.create_server(self._connect, sock=self._listener)
        await self._stopping.wait()
        server.close()
        await self._disconnect()
        await server.wait_closed()

    def _connect(self) -> Any:
        self._connections = {known for known in self._connections if known.transport}
        connection = self._smtp(
            self._handler,
            loop=self._loop,
            hostname=_HOST_NAME,
            ident="mailqueue inbox",
            data_size_limit=_SIZE_LIMIT,
            enable_SMTPUTF8=True,
        )
        self._connections.add(connection)
        return connection

    async def _disconnect(self) -> None:
        for connection in self._connections:
            if connection.transport:
                connection.transport.abort()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


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


def _smtp_class() -> Any:
    try:
        return import_module("aiosmtpd.smtp").SMTP
    except ImportError as error:
        raise InboxError('the inbox needs aiosmtpd: pip install "mailqueue[inbox]"') from error
