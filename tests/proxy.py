"""A small TCP proxy, to hold back what a server answers."""

from __future__ import annotations

import select
import socket
import threading
from contextlib import suppress


class Proxy:
    """Forwards connections to a port of this machine, from a free one.

    After ``hold_replies`` nothing that the server says is passed on, while what the clients say
    still is. After ``fall_silent`` nothing is passed on either way, as behind a firewall that drops
    what it sees: connections are neither closed nor refused, and nobody learns that they are dead.
    ``recover`` lets new connections through; the dead ones stay dead, as behind a NAT that forgot
    them. ``lead_to`` has new connections end at another port, as a DNS name does after a failover.
    ``cut`` closes those that there are.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._holding = threading.Event()
        self._age = 0  # connections of an earlier one are dead
        self._silent = False
        self._until_closed = threading.Event()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]

    def hold_replies(self) -> None:
        self._holding.set()

    def fall_silent(self) -> None:
        self._age += 1
        self._silent = True

    def recover(self) -> None:
        self._age += 1
        self._silent = False

    def lead_to(self, port: int) -> None:
        self._target = port

    def cut(self) -> None:
        """Close the connections that there are, as a server does that ends."""
        for opened in self._sockets:
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._until_closed.set()
        for opened in [self._listener, *self._sockets]:
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
            opened.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                if self._silent:
                    continue
                try:
                    server = socket.create_connection(("127.0.0.1", self._target))
                except OSError:  # the server is away, and the client is told so
                    client.close()
                    continue
                self._sockets.append(server)
                threading.Thread(target=self._forward, args=[client, server], daemon=True).start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        age = self._age
        with suppress(OSError, ValueError), client, server:
            while True:
                readable, _, _ = select.select([client, server], [], [])
                if age != self._age:
                    self._until_closed.wait()  # neither end learns of it
                    return
                for source in readable:
                    data = source.recv(65536)
                    if not data:
                        return
                    if source is client:
                        server.sendall(data)
                    elif not self._holding.is_set():
                        client.sendall(data)
