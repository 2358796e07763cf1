"""A script's call, over a kept connection or by redis-py's own calls: its own answer, or none."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import redis

from mailqueue.errors import EnqueueUnknown, JournalUnavailable
from mailqueue.store.client import Client, connect
from mailqueue.store.script import Script
from tests.support import wait_until

ECHO = "return {KEYS[1], ARGV[1]}"


@pytest.fixture
def name() -> str:
    """By which the server knows the connections of a test's client, and no others."""
    return f"client-{uuid4().hex}"


@pytest.fixture(params=["direct", "redis-py"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which way clients that are made from now on go: past redis-py's own calls, or by these."""
    if request.param == "redis-py":
        monkeypatch.setattr("mailqueue.store.direct.pack", None)
    return request.param


@pytest.fixture
def url(redis_url: str, name: str) -> str:
    """An URL that no other test makes a client for."""
    return f"{redis_url}?client_name={name}"


@pytest.fixture
def client(url: str, path: str) -> Iterator[Client]:
    found = connect(url, 30.0)
    yield found
    assert found.connection_pool.direct.is_used == (path == "direct")
    found.close()


@pytest.fixture
def small(url: str, path: str, request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client that may open as many connections as the parameter says."""
    found = connect(f"{url}&max_connections={request.param}", 30.0)
    yield found
    found.close()


@pytest.fixture
def echo(client: Client) -> Script:
    return Script(client, ECHO)


@pytest.fixture
def server(redis_url: str) -> Iterator[redis.Redis]:
    """A connection of the test's own; a pause ends with the test."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as found:
        yield found
        found.client_unpause()  # also where a test has failed in a pause


def close_others(server: redis.Redis) -> None:
    server.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def ids(server: redis.Redis, name: str) -> set[str]:
    """The server's names for the connections of the test's client."""
    return {client["id"] for client in server.client_list() if client["name"] == name}


def connections(server: redis.Redis, name: str) -> int:
    return len(ids(server, name))


def close_when_waiting(server: redis.Redis, name: str) -> None:
    """Close all connections when the test's client waits for a server that is paused."""

    def waits() -> bool:
        return any(c["name"] == name and "b" in c["flags"] for c in server.client_list())

    wait_until(waits, 20, lambda: f"nobody waits: {server.client_list()}")
    close_others(server)


def next_connection(client: Client) -> Any:
    """That over which the next call goes."""
    pool = client.connection_pool
    found = pool.get_connection()
    pool.release(found)
    return found


def test_kept(echo: Script, server: redis.Redis, name: str) -> None:
    """One call after the other goes over one connection."""
    assert [echo.call("k", [n]) for n in range(3)] == [["k", str(n)] for n in range(3)]
    assert connections(server, name) == 1


def test_closed_while_idle(echo: Script, server: redis.Redis) -> None:
    """A connection that the server has closed meanwhile is not used: the next call works."""
    echo.call("k", [1])
    close_others(server)
    assert echo.call("k", [2], unknown=("id",)) == ["k", "2"]


def test_no_server(unused_port: int, path: str, name: str) -> None:
    """Where no connection can be had nothing was carried out, and that is known."""
    echo = Script(connect(f"redis://127.0.0.1:{unused_port}?client_name={name}", 30.0), ECHO)
    with pytest.raises(JournalUnavailable):
        echo.call("k", [1], unknown=("id",))


def test_meanwhile(echo: Script) -> None:
    """What is called while the answer travels may call scripts as well."""
    inner: list[object] = []

    def meanwhile() -> None:
        inner.append(echo.call("k", ["inner"], meanwhile=lambda: inner.append("innermost")))

    assert echo.call("k", ["outer"], meanwhile=meanwhile) == ["k", "outer"]
    assert inner == ["innermost", ["k", "inner"]]
    assert echo.call("k", ["next"]) == ["k", "next"]


def test_unknown_script(echo: Script, server: redis.Redis) -> None:
    """A script that the server has forgotten is sent anew; what comes meanwhile comes once."""
    called: list[object] = []
    server.script_flush()
    assert echo.call("k", [1], meanwhile=lambda: called.append(1)) == ["k", "1"]
    assert called == [1]


def test_lost_while_an_answer_is_outstanding(echo: Script, server: redis.Redis, name: str) -> None:
    """A command whose answer doesn't come may have been carried out; the next gets its own."""
    echo.call("k", [1])
    server.client_pause(60_000, all=False)  # of what may write, as scripts do
    closing = threading.Thread(target=close_when_waiting, args=(server, name))
    closing.start()
    with pytest.raises(EnqueueUnknown):
        echo.call("k", [2], unknown=("id",))
    closing.join()
    server.client_unpause()
    assert echo.call("k", [3]) == ["k", "3"]


def test_too_late(client: Client, echo: Script, server: redis.Redis) -> None:
    """An answer that comes after its time is not taken for that to the next call."""
    echo.call("k", [1])
    next_connection(client).update_current_socket_timeout(0.05)  # for redis-py's own calls
    client.connection_pool.connection_kwargs["socket_timeout"] = 0.05
    server.client_pause(60_000, all=False)
    with pytest.raises(JournalUnavailable, match="Timeout"):
        echo.call("k", [2])
    server.client_unpause()
    assert echo.call("k", [3]) == ["k", "3"]


@pytest.mark.parametrize("small", [1], indirect=True)
def test_error_meanwhile(small: Client) -> None:
    """An answer that was not waited for is not taken for that to the next call."""
    echo = Script(small, ECHO)

    def fail() -> None:
        raise LookupError("meanwhile")

    with pytest.raises(LookupError):
        echo.call("k", [1], meanwhile=fail)
    assert echo.call("k", [2]) == ["k", "2"]


def test_left_in_the_middle(client: Client) -> None:
    """A connection that an exception takes from its command is closed, be the answer there or not.

    As redis-py leaves it where a signal's handler raises between command and answer.
    """
    pool = client.connection_pool
    connection = pool.get_connection()

    def be_interrupted() -> None:
        try:
            connection.send_command("PING")
            raise LookupError("from outside")
        finally:
            pool.release(connection)

    with pytest.raises(LookupError):
        be_interrupted()
    assert not connection.is_connected
    assert client.echo("next") == "next"


def test_refusal(echo: Script) -> None:
    """What the server refuses is no reason to doubt the next answer."""
    with pytest.raises(JournalUnavailable, match="refused"):
        Script(echo.client, "return redis.call('NONSENSE')").call("k", [])
    assert echo.call("k", [2]) == ["k", "2"]


def test_threads_ending(echo: Script, server: redis.Redis, name: str) -> None:
    """A thread leaves its connection to those after it."""
    for n in range(5):
        thread = threading.Thread(target=echo.call, args=("k", [n]))
        thread.start()
        thread.join()
    assert connections(server, name) == 1


def test_threads_at_once(echo: Script, server: redis.Redis, name: str, path: str) -> None:
    """Threads that call at the same time share no connection; those after them open no more."""
    everyone = threading.Barrier(4)
    answers: dict[int, object] = {}

    def call(n: int) -> None:
        answers[n] = echo.call("k", [n], meanwhile=everyone.wait)

    for _ in range(2):
        threads = [threading.Thread(target=call, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == {n: ["k", str(n)] for n in range(4)}
    # By redis-py's own calls answers are there before all are asked; fewer connections may do.
    most = 4
    assert connections(server, name) <= most
    assert path != "direct" or connections(server, name) == most


@pytest.mark.parametrize("small", [2], indirect=True)
def test_a_small_pool(small: Client) -> None:
    """What is kept is there for redis-py's own commands, before there are too many connections."""
    echo = Script(small, ECHO)
    assert echo.call("k", [1], meanwhile=lambda: echo.call("k", [2])) == ["k", "1"]
    assert small.ping()
    with small.pubsub() as one:
        one.subscribe("channel")  # keeps a connection of its own
        assert small.ping()
        assert echo.call("k", [3]) == ["k", "3"]


def test_more_at_once_than_redis_py_allows_by_itself(echo: Script) -> None:
    """A worker with a hundred greenlets has as many calls under way where the server stalls."""
    asked = [echo.ask("k", [n]) for n in range(120)]
    assert [one.answer()[1] for one in asked] == [str(n) for n in range(120)]


@pytest.mark.parametrize("small", [1], indirect=True)
def test_all_in_use(small: Client) -> None:
    """One connection more than there may be is an error that says so, and nothing was sent."""
    echo = Script(small, ECHO)
    assert echo.call("k", [1]) == ["k", "1"]
    with small.pubsub() as one:
        one.subscribe("channel")
        with pytest.raises(JournalUnavailable, match="max_connections"):
            echo.call("k", [2], unknown=("id",))
    assert echo.call("k", [3]) == ["k", "3"]


@pytest.mark.parametrize("path", ["direct"], indirect=True)
@pytest.mark.parametrize("small", [1], indirect=True)
def test_all_in_use_meanwhile(small: Client) -> None:
    """While an answer travels nobody else gets its connection."""
    echo = Script(small, ECHO)

    def meanwhile() -> None:
        with pytest.raises(JournalUnavailable, match="max_connections"):
            echo.call("k", [2], unknown=("id",))

    assert echo.call("k", [1], meanwhile=meanwhile) == ["k", "1"]


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_fork(echo: Script, server: redis.Redis, name: str) -> None:
    """A child leaves its parent's connection alone, and the parent goes on with it."""
    echo.call("k", ["before"])
    before = ids(server, name)
    called, seen = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            status = 0 if echo.call("k", ["child"]) == ["k", "child"] else 2
            os.write(called[1], b"x")
            os.read(seen[0], 1)  # the child's connection ends with it
        finally:
            os._exit(status)
    os.close(called[1])  # so that a child that ends early is noticed
    os.read(called[0], 1)
    meanwhile = ids(server, name)
    os.write(seen[1], b"x")
    assert os.waitpid(child, 0)[1] == 0
    for end in (called[0], *seen):
        os.close(end)
    assert meanwhile > before
    assert echo.call("k", ["after"]) == ["k", "after"]
    assert ids(server, name) & meanwhile >= before
    assert len(before) == 1
    wait_until(lambda: ids(server, name) == before, 20)
