"""A pool of connections that scripts keep some of."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import redis


class Kept(NamedTuple):
    """A connection that was taken from its pool, and that the next call may use."""

    connection: Any
    process: int

    def is_usable(self) -> bool:
        """Whether a command may be sent: the server has not closed it, and owes no answer."""
        try:
            return self.process == os.getpid() and not self.connection.can_read()
        except redis.RedisError:
            return False


kept_of: WeakKeyDictionary[redis.ConnectionPool, list[Kept]] = WeakKeyDictionary()


class Pool(redis.ConnectionPool):
    """A pool that has what scripts keep for others, too, before it has too many connections."""

    def make_connection(self) -> Any:
        """Open one, or take one that is kept. Raises MaxConnectionsError if all are in use."""
        try:
            return super().make_connection()
        except redis.MaxConnectionsError:
            kept = kept_of.get(self, [])
            with suppress(IndexError):
                while True:
                    found = kept.pop()
                    if found.process == os.getpid():
                        return found.connection
            raise
