"""Connections to the journal's server, and the one boundary where its errors become ours."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ..errors import EnqueueError, EnqueueUnknown, ImproperlyConfigured, JournalUnavailable
from ..urls import redacted

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


class Script:
    """A script on the server, called by its hash over one connection of the client's pool.

    The journal is asked once for each message. redis-py's own call takes twice as long in the
    client, for retries and metrics that aren't used here.
    """

    def __init__(self, client: Client, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        self._client = client

    def call(self, key: str, arguments: Sequence[str | int], unknown: tuple[str, ...] = ()) -> Any:
        """Run it; ``unknown`` as for ``errors_translated``, once a connection is there."""
        pool = self._client.connection_pool
        known: tuple[str, ...] = ()
        try:
            connection = pool.get_connection()
            known = unknown
            try:
                return self._answer(connection, key, arguments)
            finally:
                pool.release(connection)
        except redis.RedisError as error:
            raise _translated(self._client, error, known) from error

    def _answer(self, connection: Any, key: str, arguments: Sequence[str | int]) -> Any:
        connection.send_command("EVALSHA", self.sha, 1, key, *arguments)
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
