"""A pool of connections that keeps some for scripts, which are called past redis-py's own calls."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import redis

from .direct import lack, surprise

_log = logging.getLogger(__name__)
_SECONDS_UNTRIED = 10.0


class Pool(redis.ConnectionPool):
    """A pool that lets redis-py have what is kept for scripts, before it has too many connections.

    It relies on nothing but what every pool of redis-py has: ``get_connection`` and ``release``.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.kept = Kept(self)

    def get_connection(self, *arguments: Any, **options: Any) -> Any:
        """A connection that is ready. Raises MaxConnectionsError if all are in use.

        What keeps the system from opening one is a ConnectionError, too.
        """
        while True:
            try:
                return super().get_connection(*arguments, **options)
            except redis.MaxConnectionsError:
                if not self.kept.give_up():
                    raise
            except OSError as error:
                if error.errno is None:
                    raise  # not the system's
                # To make a connection, redis-py reads a file when it does so first.
                raise redis.ConnectionError(str(error)) from error


class Kept:
    """The connections of a pool that are kept for scripts; the last that was used is the next.

    Where this redis-py's connections aren't as we know them, nothing is kept, and ``take`` has
    nothing to give. Whether they are is looked up at once, and tried with the first connection. A
    server that is in trouble then says nothing of redis-py: it is tried again some seconds later.
    """

    def __init__(
        self, pool: redis.ConnectionPool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._not_before = -math.inf
        self._idle: list[_Idle] = []
        self._is_tried = False
        self._obstacle = ""
        if lacking := lack(getattr(pool, "connection_class", None)):
            self._give_way(lacking)

    @property
    def is_used(self) -> bool:
        """Whether calls go over these connections, as far as is known by now."""
        return not self._obstacle and self._clock() >= self._not_before

    def take(self) -> Any | None:
        """A connection that nobody else can get until it is kept or dropped.

        None says that calls have to be redis-py's own. Raises what redis-py raises.
        """
        while self._idle:
            try:
                idle = self._idle.pop()
            except IndexError:  # another thread has it
                break
            if idle.is_usable():
                return idle.connection
            self.drop(idle.connection)
        if not self.is_used:
            return None
        connection = self._pool.get_connection()
        return connection if self._is_tried else self._try_out(connection)

    def keep(self, connection: Any) -> None:
        """Have it for the next call; no answer may be outstanding."""
        self._idle.append(_Idle(connection, os.getpid()))

    def drop(self, connection: Any) -> None:
        """Close it, so that what it still says is never read as an answer."""
        connection.disconnect()
        self._pool.release(connection)

    def give_up(self) -> bool:
        """Let the pool have a connection; return whether there was one."""
        try:
            self._pool.release(self._idle.pop().connection)  # which ignores that of a parent
        except IndexError:
            return False
        return True

    def _try_out(self, connection: Any) -> Any | None:
        try:
            found = surprise(connection)
        except BaseException as error:
            self.drop(connection)
            self._not_before = self._clock() + _SECONDS_UNTRIED
            if isinstance(error, redis.ConnectionError):
                return None  # redis-py's own call says what is wrong, if it still is
            raise
        if found:
            self.drop(connection)
            self._give_way(found)
            return None
        self._is_tried = True
        return connection

    def _give_way(self, obstacle: str) -> None:
        self._obstacle = obstacle
        _log.warning(
            "the journal is asked by redis-py's own calls, which take longer. Nothing else is "
            "amiss: with redis-py %s, %s", redis.__version__, obstacle,
        )  # fmt: skip


class _Idle(NamedTuple):
    connection: Any
    process: int

    def is_usable(self) -> bool:
        """Whether a command may be sent: the server has not closed it, and owes no answer."""
        try:
            return self.process == os.getpid() and not self.connection.can_read()
        except redis.RedisError:
            return False
