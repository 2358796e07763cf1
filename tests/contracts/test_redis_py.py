"""Mail goes where redis-py's connections have changed, in any one of what mailqueue calls."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from functools import partial
from types import MethodType
from typing import Any
from uuid import uuid4

import pytest
import redis

from mailqueue.delivery.gate.breaker import SharedBreaker
from mailqueue.delivery.trouble import ServerTrouble
from mailqueue.errors import EnqueueUnknown, JournalUnavailable
from mailqueue.queue.journal import Journal
from mailqueue.state import State
from mailqueue.store.client import Client, connect
from mailqueue.store.script import Script
from tests.contracts.journals import POLICY, SENT, accepted, claimed, state

ECHO = "return {KEYS[1], ARGV[1]}"
Connection = redis.connection.Connection
_own = {name: getattr(Connection, name) for name in dir(Connection)}


def asked_by_us() -> bool:
    """Whether the code that looked up an attribute, two frames from here, is mailqueue's."""
    return sys._getframe(2).f_globals["__name__"].startswith("mailqueue.")


class Method:
    """A method of redis-py's connections that has changed for mailqueue, and nobody else.

    redis-py itself goes on: whatever it changes, it changes where it uses it, too.
    """

    def __init__(self, name: str, to: Callable[..., Any] | None) -> None:
        self._name = name
        self._to = to

    def __get__(self, connection: Any, kind: type) -> Any:
        found = _own[self._name]
        if asked_by_us():
            if self._to is None:
                raise AttributeError(self._name)
            found = self._to
        return found if connection is None else MethodType(found, connection)


class Socket:
    """The socket of a connection, which mailqueue no longer finds."""

    def __get__(self, connection: Any, kind: type) -> Any:
        if asked_by_us():
            raise AttributeError("_sock")
        return vars(connection)["_sock"]

    def __set__(self, connection: Any, value: Any) -> None:
        vars(connection)["_sock"] = value


def change(name: str, to: Callable[..., Any] | None, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Connection, name, Method(name, to))


def needs_more(self: Any, *, more: object) -> None:
    raise AssertionError("called without what it needs")


def read(self: Any, *arguments: Any, **options: Any) -> Any:
    return _own["read_response"](self, *arguments, **options)


def read_bytes(self: Any) -> Any:
    answer = read(self)
    return answer.encode() if isinstance(answer, str) else answer


def return_errors(self: Any) -> Any:
    try:
        return read(self)
    except redis.ResponseError as error:
        return error


def refuse(self: Any, *arguments: Any) -> None:
    raise redis.DataError("not like that any more")


def break_off(self: Any, *arguments: Any) -> None:
    raise redis.ConnectionError("Connection closed by server.")


def time_out(self: Any, *arguments: Any) -> None:
    raise redis.TimeoutError("Timeout writing to socket")


def always(self: Any) -> bool:
    return True


def unchanged(patch: pytest.MonkeyPatch) -> None:
    pass


def no_sock(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Connection, "_sock", Socket(), raising=False)


def no_pack(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("mailqueue.store.direct.pack", None)


def other_pack(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("mailqueue.store.direct.pack", lambda command: [command])


METHODS = ["send_packed_command", "send_command", "read_response", "can_read", "disconnect"]
CHANGES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    **{f"no {name}": partial(change, name, None) for name in METHODS},
    **{f"another {name}": partial(change, name, needs_more) for name in METHODS},
    "answers are bytes": partial(change, "read_response", read_bytes),
    "errors are returned": partial(change, "read_response", return_errors),
    "always something to read": partial(change, "can_read", always),
    "packed commands are refused": partial(change, "send_packed_command", refuse),
    "no pack_command": no_pack,
    "another pack_command": other_pack,
}


@pytest.fixture
def client(redis_url: str, request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client with a single connection, made after the change that the parameter names."""
    with pytest.MonkeyPatch.context() as patch:
        request.param(patch)
        found = connect(f"{redis_url}?max_connections=1&client_name={uuid4().hex}", 30.0)
        yield found
        found.close()


def deliver(client: Client) -> None:
    """Have a message accepted, claimed, committed and settled, and a breaker asked."""
    journal = Journal(client, "q", POLICY)
    accepted(journal, "one")
    claim = claimed(journal, "one")
    assert journal.commit(claim)
    assert journal.settle(claim, SENT)
    assert state(journal, "one") is State.SENT
    breaker = SharedBreaker(client, "smtp.example.com:25")
    breaker.note_failure(ServerTrouble("421 not now"))
    assert SharedBreaker(client, "smtp.example.com:25").look().reason == "421 not now"


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was said of the client, when it was made and since."""
    records = [*caplog.get_records("setup"), *caplog.records]
    return [record.getMessage() for record in records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("client", CHANGES.values(), ids=CHANGES, indirect=True)
def test_changed(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """Mail goes by redis-py's own calls, whichever part has changed; a log line says so once."""
    deliver(client)
    assert not client.connection_pool.direct.is_used
    (said,) = warnings(caplog)
    assert "asked by redis-py's own calls, which take longer" in said
    assert redis.__version__ in said


@pytest.mark.parametrize("client", [unchanged, no_sock], ids=["as it is", "_sock"], indirect=True)
def test_direct(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody is told of anything where all is as known, nor where only the socket isn't found."""
    deliver(client)
    assert client.connection_pool.direct.is_used
    assert warnings(caplog) == []


@pytest.mark.parametrize(
    "client", [partial(change, "send_packed_command", time_out)], indirect=True
)
def test_timed_out(client: Client) -> None:
    """Where the time is over nothing else is tried in it; the next call is redis-py's own."""
    echo = Script(client, ECHO)
    with pytest.raises(JournalUnavailable, match="Timeout"):
        echo.call("k", [1], unknown=("id",))
    assert echo.call("k", [2]) == ["k", "2"]


class Trouble:
    """A server in trouble: whatever mailqueue reads past redis-py's own calls is this error."""

    def __init__(self, error: redis.RedisError) -> None:
        self._error = error

    def __call__(self, connection: Any) -> None:
        raise self._error


@pytest.mark.parametrize("client", [unchanged], indirect=True)
@pytest.mark.parametrize(
    "error",
    [
        redis.BusyLoadingError("Redis is loading the dataset in memory"),
        redis.ConnectionError("Connection closed by server."),
        redis.TimeoutError("Timeout reading from socket"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_trouble_at_the_first_call(
    error: redis.RedisError, client: Client, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    """A server that is in trouble when redis-py is tried says nothing of it: it is tried later."""
    echo, direct = Script(client, ECHO), client.connection_pool.direct
    now = [1000.0]
    monkeypatch.setattr(direct, "_clock", lambda: now[0])
    with monkeypatch.context() as patch:
        change("read_response", Trouble(error), patch)
        if isinstance(error, redis.TimeoutError):  # there is no time left for anything else
            with pytest.raises(JournalUnavailable, match="Timeout"):
                echo.call("k", [1])
        else:
            assert echo.call("k", [1]) == ["k", "1"]
    assert not direct.is_used
    assert echo.call("k", [2]) == ["k", "2"]
    now[0] += 60
    assert echo.call("k", [3]) == ["k", "3"]
    assert direct.is_used
    assert warnings(caplog) == []


@pytest.mark.parametrize("client", [unchanged], indirect=True)
def test_broken_while_sending(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was sent in part may have been carried out, as far as anybody knows."""
    echo = Script(client, ECHO)
    assert echo.call("k", [1]) == ["k", "1"]
    with monkeypatch.context() as patch:
        change("send_packed_command", break_off, patch)
        with pytest.raises(EnqueueUnknown):
            echo.call("k", [2], unknown=("id",))
    assert echo.call("k", [3]) == ["k", "3"]
