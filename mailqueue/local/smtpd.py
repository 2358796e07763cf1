"""An SMTP server in a thread: what the inbox, and a test's recording server, are made of."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any

_SECONDS_BETWEEN_LOOKS = 1.0
_SIZE_LIMIT = 100 * 1024**2  # bytes; twice what servers commonly take


class SmtpServer:
    """An aiosmtpd server with a thread and an event loop of its own, without TLS or AUTH.

    ``handler`` answers as aiosmtpd's handlers do. ``port`` 0 takes a free one; after ``start`` the
    attribute holds what was taken.

    aiosmtpd's own Controller can't take port 0, and can't stop while a client is connected: since
    Python 3.12 ``wait_closed`` waits for the clients too.
    """

    def __init__(
        self, handler: Any, host: str = "127.0.0.1", port: int = 0, **options: Any
    ) -> None:
        self.host = host
        self.port = port
        self._handler = handler
        self._options = {"hostname": host, "data_size_limit": _SIZE_LIMIT, **options}
        self._connections: set[Any] = set()

    def start(self) -> None:
        """Listen. Raises OSError where the port is taken, ImportError where aiosmtpd is missing."""
        self._smtp = import_module("aiosmtpd.smtp").SMTP
        listener = socket.create_server((self.host, self.port))
        self.port = listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(
            target=self._run, args=[listener], name="mailqueue-smtpd", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Close the port and every connection, and wait until that is done.

        A signal's handler may call it, also while its thread is in ``wait``.
        """
        with suppress(RuntimeError):  # it has ended by itself
            self.call(self._stopping.set)
        self.wait()

    def wait(self) -> None:
        """Wait until it has ended."""
        # No Event, whose lock that handler would wait for. And in steps, as Python calls none for a
        # signal that comes just before the wait begins.
        while self._thread.is_alive():
            self._thread.join(_SECONDS_BETWEEN_LOOKS)

    def call(self, function: Callable[[], object]) -> None:
        """Have the server's thread call that function, between two of its own steps."""
        self._loop.call_soon_threadsafe(function)

    def _run(self, listener: socket.socket) -> None:
        try:
            self._loop.run_until_complete(self._serve(listener))
        finally:
            self._loop.close()

    async def _serve(self, listener: socket.socket) -> None:
        server = await self._loop.create_server(self._connect, sock=listener)
        await self._stopping.wait()
        server.close()
        await self._disconnect()
        await server.wait_closed()

    def _connect(self) -> Any:
        self._connections = {known for known in self._connections if known.transport}
        connection = self._smtp(
            self._handler, loop=self._loop, enable_SMTPUTF8=True, **self._options
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
