"""A small TCP proxy, for what a network does to the connections to a server."""

from __future__ import annotations

import select
import socket
import threading
from contextlib import suppress
from typing import Self


class Link:
    """A connection through a proxy. What ``pass_on`` returns False for ends it."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.is_forgotten = False

    def run(self) -> None:
        """Pass on what either side says, until one of them closes."""
        with suppress(OSError, ValueError), self.client, self.server:
            while True:
                readable, _, _ = select.select([self.client, self.server], [], [])
                for source in readable:
                    data = source.recv(1 << 20)
                    if not data or not (self.is_forgotten or self.pass_on(source, data)):
                        return

    def pass_on(self, source: socket.socket, data: bytes) -> bool:
        """Hand data to the other side; return whether the connection goes on."""
        (self.server if source is self.client else self.client).sendall(data)
        return True


class Proxy:
    """Forwards connections to a port of this machine, from a free one.

    After ``hold_replies`` nothing that the server says is passed on, while what the clients say
    still is. With ``to`` it begins with the next request that has this in it. After ``forget``
    nothing at all is passed on over the connections of before, as where a NAT has forgotten them:
    neither side is told. After ``fall_silent`` the same becomes of new ones, as behind a firewall
    that drops what it sees; ``recover`` lets new ones through again. ``lead_to`` has new
    connections end at another port, as a DNS name does after a failover. ``cut`` closes those that
    there are, as a server does that ends.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._holding = self._forgetting = False
        self._hold_at: bytes | None = None
        self._links: list[Link] = []
        self._unanswered: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]

    @property
    def connections(self) -> int:
        """How many there have been."""
        return len(self._links)

    def hold_replies(self, to: bytes = b"") -> None:
        self._hold_at, self._holding = to or None, not to

    def forget(self) -> None:
        for link in self._links:
            link.is_forgotten = True

    def fall_silent(self) -> None:
        self._forgetting = True
        self.forget()

    def recover(self) -> None:
        self._forgetting = False
        self.forget()

    def lead_to(self, port: int) -> None:
        self._target = port

    def cut(self) -> None:
        for link in self._links:
            for end in (link.client, link.server):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def connect(self, client: socket.socket, server: socket.socket) -> Link:
        """What passes on between the two."""
        return _Holding(client, server, self)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        ends = [end for link in self._links for end in (link.client, link.server)]
        for opened in [self._listener, *self._unanswered, *ends]:
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
            opened.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self._target))
                except OSError:  # the server is away, which nobody is told in silence
                    if self._forgetting:
                        self._unanswered.append(client)
                    else:
                        client.close()
                    continue
                link = self.connect(client, server)
                link.is_forgotten = self._forgetting
                self._links.append(link)
                threading.Thread(target=link.run, daemon=True).start()


class _Holding(Link):
    def __init__(self, client: socket.socket, server: socket.socket, proxy: Proxy) -> None:
        super().__init__(client, server)
        self._proxy = proxy

    def pass_on(self, source: socket.socket, data: bytes) -> bool:
        proxy = self._proxy
        if source is self.client and proxy._hold_at is not None and proxy._hold_at in data:
            proxy.hold_replies()
        return (source is self.server and proxy._holding) or super().pass_on(source, data)
