"""Connections to the journal's server, and the one boundary where its errors become ours."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ..errors import EnqueueError, EnqueueUnknown, ImproperlyConfigured, JournalUnavailable
from ..urls import redacted

Client = redis.Redis
_SURELY_OPEN = 0.01  # seconds after a connection was used


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
        client: Client = redis.Redis.from_url(
            url,
            decode_responses=True,
            # Damaged bytes must not hide what was read along with them. As an escape that JSON
            # doesn't know, they make whatever they are in unreadable, and nothing else.
            encoding_errors="backslashreplace",
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError as error:
        raise ImproperlyConfigured(
            f"{redacted(url)} is no URL of a Redis or Valkey: {error}"
        ) from None
    return client


@contextmanager
def errors_translated(client: Client, *, unknown: tuple[str, ...] = ()) -> Iterator[None]:
    """Raise redis-py's errors as ours; with ``unknown`` ids, a lost answer is EnqueueUnknown."""
    try:
        yield
    except redis.RedisError as error:
        raise _translated(client, error, unknown) from error


def _translated(client: Client, error: redis.RedisError, unknown: tuple[str, ...]) -> EnqueueError:
    refused = (redis.AuthenticationError, redis.BusyLoadingError, redis.ResponseError)
    if isinstance(error, refused):
        return JournalUnavailable(f"{_where(client)} refused: {error}", unknown)
    if not isinstance(error, redis.ConnectionError | redis.TimeoutError):
        return JournalUnavailable(f"{_where(client)} failed: {error}", unknown)
    if unknown:
        return EnqueueUnknown(
            f"{_where(client)} did not answer ({error}): the message may have been accepted or "
            "not. Sending the same message object again can't make a second copy of it.",
            unknown,
        )
    return JournalUnavailable(f"{_where(client)} can't be reached: {error}{_hint(client)}")


class _Kept(NamedTuple):
    """A connection that was taken from its pool, and that the next call may use."""

    connection: Any
    used: float
    process: int

    def is_usable(self) -> bool:
        """Whether a command may be sent: the server has not closed it, and owes no answer."""
        if self.process != os.getpid():
            return False
        # To look takes longer than all else that a call does here, and who asks for one message
        # after the other would look each time. What is lost so soon after it was used could as
        # well have been lost with the last answer.
        if time.monotonic() - self.used < _SURELY_OPEN:
            return True
        try:
            return not self.connection.can_read()
        except redis.RedisError:
            return False


_kept: WeakKeyDictionary[Client, list[_Kept]] = WeakKeyDictionary()


class Script:
    """A script on the server, called by its hash over a connection that is kept for such calls.

    The journal is asked once for each message. redis-py's own call takes three times as long in
    the client, for retries and metrics that aren't used here, and for its pool.
    """

    def __init__(self, client: Client, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        self._client = client
        self._kept = _kept.setdefault(client, [])  # the last that was used is the next

    def call(
        self,
        key: str,
        arguments: Sequence[str | float],
        unknown: tuple[str, ...] = (),
        meanwhile: Callable[[], object] | None = None,
    ) -> Any:
        """Run it; ``unknown`` as for ``errors_translated``, once a connection is there.

        ``meanwhile`` is called while the answer travels. It may call scripts too; what it raises
        is raised here, and then nobody learns the answer.
        """
        known: tuple[str, ...] = ()
        try:
            connection = self._take()
            known = unknown
            try:
                answer = self._answer(connection, key, arguments, meanwhile)
            except BaseException:
                self._drop(connection)  # what it still says must not be read as the next answer
                raise
        except redis.RedisError as error:
            raise _translated(self._client, error, known) from error
        self._keep(connection)
        return answer

    def _take(self) -> Any:
        """A connection that nobody else can get until it is kept or dropped."""
        with suppress(IndexError):
            while True:
                kept = self._kept.pop()
                if kept.is_usable():
                    return kept.connection
                self._drop(kept.connection)
        return self._client.connection_pool.get_connection()

    def _keep(self, connection: Any) -> None:
        pool = self._client.connection_pool
        # The rest of what the pool may open is for redis-py's own commands.
        if len(self._kept) < pool.max_connections // 2:
            self._kept.append(_Kept(connection, time.monotonic(), os.getpid()))
        else:
            pool.release(connection)

    def _drop(self, connection: Any) -> None:
        connection.disconnect()
        self._client.connection_pool.release(connection)

    def _answer(
        self,
        connection: Any,
        key: str,
        arguments: Sequence[str | float],
        meanwhile: Callable[[], object] | None,
    ) -> Any:
        connection.send_command("EVALSHA", self.sha, 1, key, *arguments)
        if meanwhile is not None:
            meanwhile()
        try:
            return connection.read_response()
        except redis.exceptions.NoScriptError:
            connection.send_command("EVAL", self.text, 1, key, *arguments)
            return connection.read_response()


def ensure_connected(client: Client) -> None:
    """Open a connection if there is none, so that a failure to do so is known as just that."""
    with errors_translated(client):
        pool = client.connection_pool
        pool.release(pool.get_connection())


def _where(client: Client) -> str:
    arguments = client.connection_pool.connection_kwargs
    if "path" in arguments:
        return f"the journal at {redacted('unix://' + arguments['path'])}"
    return f"the journal at {arguments.get('host', 'localhost')}:{arguments.get('port', 6379)}"


def _hint(client: Client) -> str:
    if "path" in client.connection_pool.connection_kwargs:
        return ". Start the embedded server with `mailqueue up`, or set MAILQUEUE['BROKER_URL']"
    return ". Start it, or correct MAILQUEUE['BROKER_URL'] or MAILQUEUE['JOURNAL_URL']"
