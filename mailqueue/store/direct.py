"""What a call past redis-py's own takes for granted, and whether this redis-py is like that."""

from __future__ import annotations

from inspect import signature
from typing import Any

import redis

try:
    import hiredis
except ImportError:  # redis-py can do without it
    hiredis = None  # type: ignore[assignment]

# From a command as a tuple to the bytes that the server reads.
pack: Any = getattr(hiredis, "pack_command", None)
# The methods of a connection that are called, each with arguments like those of the call.
_CALLED: dict[str, tuple[object, ...]] = {
    "send_packed_command": ([b""],),
    "send_command": ("EVAL", ""),
    "read_response": (),
    "can_read": (),
    "disconnect": (),
}


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
        connection.send_packed_command([pack(("PING",)), pack(("EVALSHA", "0" * 40, 0))])
        if _read(connection) not in ("PONG", redis.ResponseError):
            return "an answer is not read as its text"
        if _read(connection) is not redis.ResponseError:
            return "an error is not raised"
        if connection.can_read():
            return "there is something to read where no answer is outstanding"
    except (redis.ConnectionError, redis.TimeoutError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever goes wrong, redis-py's own calls are left
        return f"{type(error).__name__}: {error}"
    return ""


def _read(connection: Any) -> Any:
    """The next answer, or ResponseError for any of those, which a server's rules may cause."""
    try:
        return connection.read_response()
    except redis.ResponseError:
        return redis.ResponseError
