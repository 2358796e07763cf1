"""Calls past redis-py's own: what they take for granted, and whether this redis-py is like that."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from inspect import signature
from typing import Any, Protocol

import redis

try:
    import hiredis
except ImportError:  # redis-py can do without it
    hiredis = None  # type: ignore[assignment]

# From a command as a tuple of texts and bytes to the bytes that the server reads.
pack: Any = getattr(hiredis, "pack_command", None)
# The methods of a connection that are called, each with arguments like those of the call.
_CALLED: dict[str, tuple[object, ...]] = {
    "send_packed_command": ([b""],),
    "send_command": ("EVAL", ""),
    "read_response": (),
    "can_read": (0.1,),
    "disconnect": (),
}
# What a call raises that is no longer as it was. Any other exception comes from outside.
CHANGED = (AttributeError, LookupError, TypeError, ValueError)
_SECONDS_UNTRIED = 10.0
_log = logging.getLogger(__name__)


class _Connections(Protocol):
    def take(self, within: float) -> Any: ...
    def drop(self, connection: Any) -> None: ...


class Direct:
    """Whether scripts are called past redis-py's own calls, over a pool's connections.

    They are, where connections are as we know them. Whether they are is looked up at once, and
    tried with the first connection. A server that is in trouble then says nothing of redis-py: it
    is tried again some seconds later.
    """

    def __init__(self, pool: _Connections, clock: Callable[[], float] = time.monotonic) -> None:
        self._pool = pool
        self._clock = clock
        self._not_before = -math.inf
        self._is_tried = False
        self._obstacle = ""
        if lacking := lack(getattr(pool, "connection_class", None)):
            self._give_way(lacking)

    @property
    def is_used(self) -> bool:
        """Whether scripts are called so, as far as is known by now."""
        return not self._obstacle and self._clock() >= self._not_before

    def take(self, within: float) -> Any | None:
        """As the pool's ``take``. None says that calls have to be redis-py's own.

        Raises what redis-py raises.
        """
        if not self.is_used:
            return None
        connection = self._pool.take(within)
        return connection if self._is_tried else self._try_out(connection)

    def _try_out(self, connection: Any) -> Any | None:
        try:
            found = surprise(connection)
        except BaseException as error:
            self._pool.drop(connection)
            if isinstance(error, redis.RedisError):
                self._not_before = self._clock() + _SECONDS_UNTRIED
            if isinstance(error, redis.ConnectionError):
                return None  # redis-py's own call says what is wrong, if it still is
            raise
        if found:
            self._pool.drop(connection)
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


class TextPacker:
    """Packs redis-py's own commands as redis-py does, but hands hiredis no numbers.

    To turn one into a text while an exception is on its way may end the process.
    """

    def __init__(self, packer: Any) -> None:
        self._packer = packer

    def pack(self, *command: Any) -> Any:
        """From a command to what the server reads."""
        texts = [str(one) if isinstance(one, int | float) else one for one in command]
        return self._packer.pack(*texts)


def text_packer() -> TextPacker | None:
    """What packs redis-py's own commands; None where there is no hiredis, or another redis-py."""
    kind = getattr(redis.connection, "HiredisRespSerializer", None)
    return None if kind is None or hiredis is None else TextPacker(kind())


def lack(kind: Any) -> str:
    """What a kind of connections lacks, in words; empty where nothing is missing."""
    if pack is None:
        return "there is no hiredis that packs commands"
    for name, arguments in _CALLED.items():
        try:
            signature(getattr(kind, name)).bind(None, *arguments)
        except (AttributeError, TypeError, ValueError) as error:
            return f"connections have no {name} as we know it: {error}"
    return ""


def surprise(connection: Any) -> str:
    """What a connection does otherwise than expected, in words; empty where all is well.

    The server is asked two things that change nothing: the answer to one is a text, to the other
    an error. Raises redis.ConnectionError and TimeoutError, by which the server is in trouble.
    """
    try:
        connection.send_packed_command([pack(("PING",)), pack(("EVALSHA", "0" * 40, "0"))])
        if _read(connection) not in ("PONG", redis.ResponseError):
            return "an answer is not read as its text"
        if _read(connection) is not redis.ResponseError:
            return "an error is not raised"
        if connection.can_read():
            return "there is something to read where no answer is outstanding"
    except (redis.ConnectionError, redis.TimeoutError):
        raise
    except (redis.RedisError, *CHANGED) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _read(connection: Any) -> Any:
    """The next answer, or ResponseError for any of those, which a server's rules may cause."""
    try:
        return connection.read_response()
    except redis.ResponseError:
        return redis.ResponseError
