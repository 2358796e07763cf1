"""Connections to the journal's server, and the one boundary where its errors become ours."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import redis
from hiredis import pack_command
from redis.backoff import NoBackoff
from redis.retry import Retry

from ..errors import EnqueueError, EnqueueUnknown, ImproperlyConfigured, JournalUnavailable
from ..urls import redacted
from ..waiting import Wakefulness

Client = redis.Redis


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
        pool = _Pool.from_url(
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
    return redis.Redis.from_pool(pool)


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


class _Kept(NamedTuple):
    """A connection that was taken from its pool, and that the next call may use."""

    connection: Any
    process: int

    def is_usable(self) -> bool:
        """Whether a command may be sent: the server has not closed it, and owes no answer."""
        try:
            return self.process == os.getpid() and not self.connection.can_read()
        except redis.RedisError:
            return False


_kept: WeakKeyDictionary[redis.ConnectionPool, list[_Kept]] = WeakKeyDictionary()


class _Pool(redis.ConnectionPool):
    """A pool that has what scripts keep for others, too, before it has too many connections."""

    def make_connection(self) -> Any:
        """Open one, or take one that is kept. Raises MaxConnectionsError if all are in use."""
        try:
            return super().make_connection()
        except redis.MaxConnectionsError:
            kept = _kept.get(self, [])
            with suppress(IndexError):
                while True:
                    found = kept.pop()
                    if found.process == os.getpid():
                        return found.connection
            raise


class Script:
    """A script on the server, called by its hash over a connection that is kept for such calls.

    The journal is asked once for each message. redis-py's own call takes three times as long in
    the client, for retries and metrics that aren't used here, and for its pool.
    """

    def __init__(self, client: Client, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        self._client = client
        self.wakefulness = Wakefulness()
        # The last that was used is the next.
        self._kept = _kept.setdefault(client.connection_pool, [])

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
        asked = self.ask(key, arguments, unknown)
        if meanwhile is not None:
            try:
                meanwhile()
            except BaseException:
                asked.drop()
                raise
        return asked.answer()

    def ask(
        self, key: str, arguments: Sequence[str | float], unknown: tuple[str, ...] = ()
    ) -> Asked:
        """Have the server run it, and return at once; ask for the answer, or drop it."""
        known: tuple[str, ...] = ()
        try:
            connection = self._take()
            known = unknown
            try:
                command: tuple[Any, ...] = ("EVALSHA", self.sha, 1, key, *arguments)
                connection.send_packed_command([pack_command(command)])
            except BaseException:
                self._drop(connection)
                raise
        except redis.RedisError as error:
            raise _translated(self._client, error, known) from error
        return Asked(self, connection, (key, *arguments), unknown)

    def _take(self) -> Any:
        """A connection that nobody else can get until it is kept or dropped."""
        while self._kept:
            try:
                kept = self._kept.pop()
            except IndexError:  # another thread has it
                break
            if kept.is_usable():
                return kept.connection
            self._drop(kept.connection)
        return self._client.connection_pool.get_connection()

    def _drop(self, connection: Any) -> None:
        connection.disconnect()
        self._client.connection_pool.release(connection)

    def _keep(self, connection: Any) -> None:
        self._kept.append(_Kept(connection, os.getpid()))


class Asked:
    """A call of a script whose answer is still to be read."""

    def __init__(
        self,
        script: Script,
        connection: Any,
        arguments: Sequence[str | float],
        unknown: tuple[str, ...],
    ) -> None:
        self._script = script
        self._connection = connection
        self._arguments = arguments
        self._unknown = unknown

    def answer(self) -> Any:
        """Wait for the answer. Raises what ``Script.call`` raises."""
        script = self._script
        try:
            try:
                answer = self._read()
            except BaseException:
                self.drop()  # what it still says must not be read as the next answer
                raise
        except redis.RedisError as error:
            raise _translated(script._client, error, self._unknown) from error
        script._keep(self._connection)
        return answer

    def drop(self) -> None:
        """Never learn the answer."""
        self._script._drop(self._connection)

    def _read(self) -> Any:
        connection = self._connection
        self._script.wakefulness.wait(getattr(connection, "_sock", None))
        try:
            return connection.read_response()
        except redis.exceptions.NoScriptError:
            connection.send_command("EVAL", self._script.text, 1, *self._arguments)
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
