"""Fixtures for composing: an outbox, and real SMTP servers of many kinds on free ports."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import trustme
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

import mailqueue


class Server:
    """A real SMTP server that records what it is told; each keyword is one of aiosmtpd's."""

    def __init__(self, *, implicit_tls: ssl.SSLContext | None = None, **options: Any) -> None:
        self.messages: list[Any] = []
        self.sessions = 0
        self.closed = 0
        self.rcpt_reply = "250 OK"
        self.data_reply = "250 OK"
        self.hidden: set[str] = set()
        self._options = options
        self._tls = implicit_tls
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Server:
        self._server = self._loop.run_until_complete(
            self._loop.create_server(self._session, "127.0.0.1", 0, ssl=self._tls)
        )
        self.port = self._server.sockets[0].getsockname()[1]
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _session(self) -> SMTP:
        return _Session(self, handler=self, loop=self._loop, **self._options)

    async def _stop(self) -> None:
        self._server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def handle_EHLO(self, server, session, envelope, hostname, responses):  # noqa: N802
        session.host_name = hostname
        return [line for line in responses if line[4:].split()[0] not in self.hidden]

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802
        if self.rcpt_reply.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.rcpt_reply

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        if self.data_reply.startswith("250"):
            self.messages.append(envelope)
        return self.data_reply


class _Session(SMTP):
    def __init__(self, owner: Server, **options: Any) -> None:
        super().__init__(**options)
        self._owner = owner

    def connection_made(self, transport: Any) -> None:
        self._owner.sessions += 1
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._owner.closed += 1
        super().connection_lost(error)


@pytest.fixture
def start_server() -> Iterator[Callable[..., Server]]:
    """Start servers; they stop at the end of the test."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(Server(**options))


@pytest.fixture
def server(start_server: Callable[..., Server]) -> Server:
    """A server with SMTPUTF8 and 8BITMIME, which the settings name."""
    server = start_server(enable_SMTPUTF8=True)
    mailqueue.configure(
        EMAIL_BACKEND="mailqueue.backends.smtp.EmailBackend",
        EMAIL_HOST="127.0.0.1",
        EMAIL_PORT=server.port,
    )
    return server


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """An authority whose certificates nobody trusts unasked."""
    return trustme.CA()


@pytest.fixture(scope="session")
def tls(authority: trustme.CA) -> ssl.SSLContext:
    """A server's TLS context for 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def authenticator() -> Callable[..., AuthResult]:
    """Lets in ann with the password s3cret."""

    def check(server, session, envelope, mechanism, data):
        right = data == LoginPassword(b"ann", b"s3cret")
        return AuthResult(success=right, handled=False)

    return check


@pytest.fixture
def outbox() -> Iterator[list[Any]]:
    """The empty outbox of the locmem backend, which is the default backend."""
    mailqueue.configure(EMAIL_BACKEND="mailqueue.backends.locmem.EmailBackend")
    mailqueue.outbox = []
    yield mailqueue.outbox
    vars(mailqueue).pop("outbox", None)
