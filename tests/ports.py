"""Ports of loopback that the kernel chose, and gives to nobody else while a test needs them."""

from __future__ import annotations

import socket
import sys
from types import TracebackType

HELD: set[int] = set()


class HeldPort:
    """A port on which nothing listens, unless whoever is told of it does.

    The socket that holds it is bound and never listens. So connecting is refused, the kernel gives
    the port to no other socket that asks for any, and a server may bind it all the same, as often
    as it is started: servers allow for that (SO_REUSEADDR).
    """

    def __init__(self) -> None:
        self._holder = socket.socket()
        self._holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._holder.bind(("127.0.0.1", 0))
        self.number: int = self._holder.getsockname()[1]
        HELD.add(self.number)
        if sys.platform != "linux":
            self._holder.close()  # elsewhere nobody else could bind it

    def release(self) -> None:
        HELD.discard(self.number)
        self._holder.close()

    def __enter__(self) -> int:
        return self.number

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()
