"""The process's clients of a server, and the one boundary where redis-py's errors become ours."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from mailqueue.conf.server import redact
from mailqueue.errors import EnqueueError, EnqueueUnknown, ImproperlyConfigured, JournalUnavailable

from .condition import Obstacle, obstacle_in
from .direct import text_packer
from .pool import Pool

Client = redis.Redis
_PROBE = "mailqueue:probe"
_UNBOUNDED = 2**31  # connections; the URL may set a bound


def connect(url: str, timeout: float) -> Client:
    """Return the process's client for that server; it connects when it is first used.

    ``timeout`` (seconds) bounds each wait. The client may be shared by threads. Nothing is retried
    behind the caller's back: a command that timed out may have been carried out, and only the
    caller knows whether to repeat it. Raises ImproperlyConfigured for what is no such URL.
    """
    return _client(url, timeout, os.getpid())


@cache
def _client(url: str, timeout: float, _process: int) -> Client:
    # None is ever given up, since its sockets would be left to the garbage collector. One for each
    # process: a lock that another thread held when the process forked stays locked in the child.
    try:
        pool = Pool.from_url(
            url,
            decode_responses=True,
            # Damaged bytes must not hide what was read along with them. As an escape that JSON
            # doesn't know, they make whatever they are in unreadable, and nothing else.
            encoding_errors="backslashreplace",
            # Each thread or greenlet needs one at a time, or two. redis-py would refuse the 101st.
            max_connections=_UNBOUNDED,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),
            command_packer=text_packer(),
        )
    except ValueError as error:
        raise ImproperlyConfigured(
            f"{redact(url)} is no URL of a Redis or Valkey: {error}"
        ) from None
    return redis.Redis.from_pool(pool)


@contextmanager
def translating_errors(client: Client, *, unknown: tuple[str, ...] = ()) -> Iterator[None]:
    """Raise redis-py's errors as ours; with ``unknown`` ids, a lost answer is EnqueueUnknown."""
    try:
        yield
    except redis.RedisError as error:
        raise translate(client, error, unknown) from error.with_traceback(None)


def translate(client: Client, error: redis.RedisError, unknown: tuple[str, ...]) -> EnqueueError:
    """One of redis-py's errors as ours.

    That is raised ``from`` the error without its frames: one of them has the login among its
    variables, and reports of errors list those.
    """
    refused = (redis.AuthenticationError, redis.BusyLoadingError, redis.ResponseError)
    if isinstance(error, refused):
        if isinstance(error, redis.ReadOnlyError):
            _connect_anew(client)
        said = obstacle_in(error)
        reason = f"{said} ({error})" if said else f"refused: {error}"
        return JournalUnavailable(f"{_where(client)} {reason}", unknown)
    if isinstance(error, redis.MaxConnectionsError):
        return JournalUnavailable(
            f"{_where(client)} is asked by more threads at once than this process may open "
            "connections to it; allow more by max_connections in its URL"
        )
    if not isinstance(error, redis.ConnectionError | redis.TimeoutError):
        return JournalUnavailable(f"{_where(client)} failed: {error}", unknown)
    if unknown:
        return EnqueueUnknown(
            f"{_where(client)} did not answer ({error}): the message may have been accepted or "
            "not. Sending the same message object again can't make a second copy of it.",
            unknown,
        )
    reason = str(error).removesuffix(".")
    return JournalUnavailable(f"{_where(client)} can't be reached: {reason}{_hint(client)}")


def ensure_connected(client: Client) -> None:
    """Open a connection if there is none, so that a failure to do so is known as just that."""
    with translating_errors(client):
        pool = client.connection_pool
        pool.release(pool.get_connection())


def condition(client: Client) -> Obstacle | None:
    """Try a write; return what keeps the server from taking it, None for nothing.

    What ``INFO`` says doesn't tell whether a write is taken. So a key is written, which ends after
    a millisecond. A login that may only read is no obstacle: it may be that of who looks only.
    Raises JournalUnavailable where the server doesn't answer.
    """
    with translating_errors(client):
        try:
            client.set(_PROBE, "", px=1)
        except (redis.ResponseError, redis.BusyLoadingError) as error:
            if isinstance(error, redis.ReadOnlyError):
                _connect_anew(client)
            return obstacle_in(error)
    return None


def try_to_write(client: Client) -> None:
    """Write a key that ends after a millisecond. Raises JournalUnavailable for whatever fails."""
    with translating_errors(client):
        client.set(_PROBE, "", px=1)


def describe(client: Client, found: Obstacle) -> str:
    """What is wrong with the server, and what to do, in a sentence."""
    return f"{_where(client)} {found}"


def _connect_anew(client: Client) -> None:
    """Have the next calls connect anew.

    After a failover the connections that are open still lead to the former primary, while its name
    leads to the new one.
    """
    client.connection_pool.disconnect(inuse_connections=False)


def _where(client: Client) -> str:
    arguments = client.connection_pool.connection_kwargs
    if "path" in arguments:
        return f"the journal at {redact('unix://' + arguments['path'])}"
    host = arguments.get("host", "localhost")
    shown = f"[{host}]" if ":" in host else host  # an address of IPv6
    return f"the journal at {shown}:{arguments.get('port', 6379)}"


def _hint(client: Client) -> str:
    if "path" in client.connection_pool.connection_kwargs:
        return (
            ". Start the embedded server with `mailqueue up`, or set MAILQUEUE['JOURNAL_URL'] and "
            "MAILQUEUE['BROKER_URL']"
        )
    return ". Start it, or correct MAILQUEUE['JOURNAL_URL'] or MAILQUEUE['BROKER_URL']"
