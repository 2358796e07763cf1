"""The connections of one process to one mailer, shared by the tasks that run in it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .connection import Connection


class ConnectionPool:
    """As many connections as there ever were tasks at once; whoever borrows one has it alone.

    Celery bounds how many tasks run at once, whether in processes, threads or greenlets. So the
    mail server never sees more connections of a worker than its ``--concurrency``.
    """

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._all: list[Connection] = []
        # The next one to be taken is at the end. To take one and to give it back are one step each,
        # which no other thread or greenlet can come between.
        self._free: deque[Connection] = deque()

    @contextmanager
    def borrow(self) -> Iterator[Connection]:
        """Have a connection: the open one that was used last, else one that opens when needed."""
        try:
            connection = self._free.pop()
        except IndexError:
            connection = self._connect()
            self._all.append(connection)
        try:
            yield connection
        finally:
            # In this order those that aren't needed are idle for long enough to be closed.
            give_back = self._free.append if connection.is_open else self._free.appendleft
            give_back(connection)

    def close_idle(self) -> None:
        """Close those over which nothing was sent for too long."""
        for connection in [*self._all]:
            connection.close_if_idle()

    def close(self) -> None:
        """Close all of them, each after the message in hand."""
        for connection in [*self._all]:
            connection.close()
