"""Scripts on the server: called by hash, over connections that are kept for such calls."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from typing import Any

import redis
from hiredis import pack_command

from .client import Client, translated
from .pool import Kept, kept_of
from .spin import Wakefulness


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
        self._kept = kept_of.setdefault(client.connection_pool, [])

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
            raise translated(self._client, error, known) from error
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
        self._kept.append(Kept(connection, os.getpid()))


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
            raise translated(script._client, error, self._unknown) from error
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
