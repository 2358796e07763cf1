"""The connections of a process to a server: none is lost, and none is used that may be dead."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from contextlib import suppress
from sys import exc_info
from typing import Any, NamedTuple
from weakref import WeakSet

import redis

from .direct import CHANGED, Direct

# A firewall or NAT may have forgotten a connection that was idle, and nobody is told of that.
_SECONDS_UNASKED = 10.0
_PART_FOR_ASKING = 1 / 8  # of the time-out
_PART_TO_LAST = 3 / 4  # what a connection must wait for to be kept: the last of a call waits less
_UNUSABLE = (redis.RedisError, *CHANGED)


class Pool(redis.ConnectionPool):
    """A pool of connections, for scripts and for redis-py's own calls.

    An exception may come from outside at any point: a time limit, a signal, an interrupt. So
    nothing is counted that such an exception could leave wrong. A connection that somebody has
    taken counts as long as he holds it. A connection that is left in the middle of an answer is
    closed. redis-py's own pool loses the one, and hands out the other.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.clock: Callable[[], float] = time.monotonic
        super().__init__(*arguments, **options)
        self.direct = Direct(self)

    def reset(self) -> None:
        """Be as new. What a parent process has open is left to it."""
        super().reset()
        self._process = os.getpid()
        self._idle: list[_Idle] = []
        self._open = WeakSet[Any]()
        self._in_use = WeakSet[Any]()

    def get_connection(self, *_arguments: Any, **_options: Any) -> Any:
        """As ``take``, within the time-out."""
        return self.take(self.timeout)

    def take(self, within: float) -> Any:
        """A connection, after so many seconds at most, that nobody else can get until it is left.

        Raises MaxConnectionsError if all are in use, and what redis-py raises.
        """
        if self._process != os.getpid():
            self.reset()
        asked_in_vain = False
        while (idle := self._pop()) is not None:
            if self._is_usable(idle):
                self._in_use.add(idle.connection)
                return idle.connection
            if self._is_unasked(idle):
                asked_in_vain = True
                self.disconnect(inuse_connections=False)  # they have been idle for longer
        asking = self.timeout * _PART_FOR_ASKING if asked_in_vain else 0
        return self._connect(within - asking)

    def release(self, connection: Any) -> None:
        """Take a connection back. It is closed where an exception is on its way.

        That may have come between a command and its answer.
        """
        if connection not in self._in_use:
            return  # a parent's, or one that was released before
        if exc_info()[0] is not None:
            self.drop(connection)
            return
        self.keep(connection)

    def keep(self, connection: Any) -> None:
        """Take a connection back; no answer may be outstanding."""
        if connection.socket_timeout < self.timeout * _PART_TO_LAST:
            self.drop(connection)
            return
        self._in_use.discard(connection)
        self._idle.append(_Idle(connection, self.clock()))

    def drop(self, connection: Any, error: BaseException | None = None) -> None:
        """Close it, so that what it still says is never read as an answer.

        Where its ``error`` is that it is lost, those that are idle are as good as lost.
        """
        if isinstance(error, redis.ConnectionError | redis.TimeoutError):
            self.disconnect(inuse_connections=False)
        self._in_use.discard(connection)
        self._open.discard(connection)
        with suppress(*CHANGED):  # it is closed when nobody holds it any more
            connection.disconnect()

    def disconnect(self, inuse_connections: bool = True) -> None:
        """Close what is idle, and by default also what is in use."""
        while (idle := self._pop()) is not None:
            self.drop(idle.connection)
        if inuse_connections:
            for connection in list(self._open):
                self.drop(connection)

    def _pop(self) -> _Idle | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _is_unasked(self, idle: _Idle) -> bool:
        return self.clock() - idle.since >= _SECONDS_UNASKED

    def _is_usable(self, idle: _Idle) -> bool:
        """Whether a command may be sent; a connection that can't be used is closed."""
        try:
            if self._is_there(idle):
                return True
        except _UNUSABLE:
            pass
        except BaseException:
            self.drop(idle.connection)
            raise
        self.drop(idle.connection)
        return False

    def _is_there(self, idle: _Idle) -> bool:
        """Whether the other side listens, which it must say at once where it was idle for long."""
        connection = idle.connection
        if connection.can_read():  # the end, or an answer that is owed
            return False
        if not self._is_unasked(idle):
            return True
        connection.send_command("PING", check_health=False)
        if not connection.can_read(self.timeout * _PART_FOR_ASKING):
            return False
        with suppress(redis.ResponseError):  # some users may not even ask that
            connection.read_response()
        return True

    @property
    def timeout(self) -> float:
        """How many seconds a call may take."""
        return float(self.connection_kwargs["socket_timeout"])

    def _connect(self, within: float) -> Any:
        """A new connection, each wait of which ends within so many seconds."""
        if len(self._open) >= self.max_connections:
            gc.collect()  # redis-py's connections are in cycles: one that nobody holds may be there
        if len(self._open) >= self.max_connections:
            raise redis.MaxConnectionsError("Too many connections")
        bounds = dict.fromkeys(("socket_timeout", "socket_connect_timeout"), within)
        connection = self._make(bounds)
        self._open.add(connection)
        try:
            connection.connect()
        except BaseException:
            self.drop(connection)  # in the middle of the greeting, maybe
            raise
        self._in_use.add(connection)
        return connection

    def _make(self, bounds: dict[str, float]) -> Any:
        """A connection that isn't open yet. What keeps the system from it is a ConnectionError."""
        try:
            return self.connection_class(**self.connection_kwargs | bounds)
        except OSError as error:
            if error.errno is None:
                raise  # not the system's
            # To make a connection, redis-py reads a file when it does so first.
            raise redis.ConnectionError(str(error)) from error


class _Idle(NamedTuple):
    connection: Any
    since: float
