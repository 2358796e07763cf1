"""Scripts on the server: called by hash, over connections that are kept for such calls."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import redis

from mailqueue.errors import EnqueueError, EnqueueUnknown

from .client import Client, ensure_connected, translate, translating_errors
from .direct import pack
from .pool import Pool
from .spin import Wakefulness

# Parts of the time-out: what the first of two calls may take, and what must be left for the second.
_FIRST, _WORTH_ANOTHER = 1 / 2, 3 / 8


class Script:
    """A script on the server, called by its hash: the one way to ask for all that is shared.

    The journal is asked once for each message. redis-py's own call takes three times as long in
    the client, for retries and metrics that aren't used here, and for its pool. So it is used only
    where redis-py's connections aren't as we know them (``direct.py``), and by other clients.
    """

    def __init__(self, client: Client, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        self.client = client
        self.wakefulness = Wakefulness()
        pool = client.connection_pool
        self._pool = pool if isinstance(pool, Pool) else None

    def call(
        self,
        key: str,
        arguments: Sequence[str | float],
        unknown: tuple[str, ...] = (),
        meanwhile: Callable[[], object] | None = None,
    ) -> Any:
        """Run it; ``unknown`` as for ``translating_errors``, once a connection is there.

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

    def insist(self, key: str, arguments: Sequence[str | float], unknown: tuple[str, ...]) -> Any:
        """Run what changes nothing the second time: once more, where the first answer got lost.

        Half of the time is for each. Raises what ``call`` raises.
        """
        pool = self._pool
        if pool is None:
            return self.call(key, arguments, unknown)
        until = pool.clock() + pool.timeout
        try:
            return self.ask(key, arguments, unknown, pool.timeout * _FIRST).answer()
        except EnqueueUnknown as lost:
            left = until - pool.clock()
            if left < pool.timeout * _WORTH_ANOTHER:
                raise
            try:
                return self.ask(key, arguments, unknown, left).answer()
            except EnqueueError:
                raise lost from None  # whatever comes of the second, the first may be done

    def ask(
        self,
        key: str,
        arguments: Sequence[str | float],
        unknown: tuple[str, ...] = (),
        within: float | None = None,
    ) -> Asked | Answered:
        """Have the server run it, and return at once; ask for the answer, or drop it.

        All of it takes ``within`` seconds, by default the client's time-out. By redis-py's own
        calls it returns when the answer is there.
        """
        command = ("EVALSHA", self.sha, "1", key, *map(str, arguments))
        pool = self._pool
        if pool is None:
            return Answered(self, command, unknown)
        within = pool.timeout if within is None else within
        until = pool.clock() + within
        known: tuple[str, ...] = ()
        try:
            if (connection := pool.direct.take(within)) is None:
                return Answered(self, command, unknown)
            known = unknown
            try:
                connection.send_packed_command([pack(command)])
            except BaseException as error:
                pool.drop(connection, error)
                raise
        except redis.RedisError as error:
            raise translate(self.client, error, known) from error.with_traceback(None)
        return Asked(self, pool, connection, command, unknown, until)


class Asked:
    """A call of a script whose answer is still to be read, until a moment on the pool's clock."""

    def __init__(
        self,
        script: Script,
        pool: Pool,
        connection: Any,
        command: tuple[str, ...],
        unknown: tuple[str, ...],
        until: float,
    ) -> None:
        self._script = script
        self._pool = pool
        self._connection = connection
        self._command = command
        self._unknown = unknown
        self._until = until

    def answer(self) -> Any:
        """Wait for the answer. Raises what ``Script.call`` raises."""
        try:
            try:
                answer = self._read()
            except BaseException as error:
                self._pool.drop(self._connection, error)
                raise
        except redis.RedisError as error:
            raise translate(self._script.client, error, self._unknown) from error.with_traceback(
                None
            )
        self._pool.keep(self._connection)
        return answer

    def drop(self) -> None:
        """Never learn the answer."""
        self._pool.drop(self._connection)

    def _read(self) -> Any:
        connection = self._connection
        if not self._script.wakefulness.wait(getattr(connection, "_sock", None)):
            left = max(self._until - self._pool.clock(), 0)
            if not connection.can_read(left):
                raise redis.TimeoutError("Timeout reading from socket")
        try:
            return connection.read_response()
        except redis.exceptions.NoScriptError:
            connection.send_command("EVAL", self._script.text, *self._command[2:])
            return connection.read_response()


class Answered:
    """A call of a script by redis-py's own calls; the answer or error is there already.

    Raises JournalUnavailable where no connection can be had, so that nothing was carried out.
    """

    def __init__(self, script: Script, command: tuple[str, ...], unknown: tuple[str, ...]) -> None:
        ensure_connected(script.client)
        self._answer: Any = None
        self._error: EnqueueError | None = None
        try:
            with translating_errors(script.client, unknown=unknown):
                self._answer = _call_by_redis_py(script, command)
        except EnqueueError as error:
            self._error = error

    def answer(self) -> Any:
        """Return the answer. Raises what ``Script.call`` raises."""
        if self._error is not None:
            raise self._error
        return self._answer

    def drop(self) -> None:
        """Never learn the answer."""


def _call_by_redis_py(script: Script, command: tuple[str, ...]) -> Any:
    try:
        return script.client.evalsha(script.sha, 1, *command[3:])
    except redis.exceptions.NoScriptError:
        return script.client.eval(script.text, 1, *command[3:])
