"""A script's call over a kept connection: it gets its own answer, or none."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from uuid import uuid4

import pytest
import redis

from mailqueue.errors import EnqueueUnknown, JournalUnavailable
from mailqueue.store.client import Client, connect
from mailqueue.store.script import Script

ECHO = "return {KEYS[1], ARGV[1]}"


@pytest.fixture
def name() -> str:
    """By which the server knows the connections of a test's client, and no others."""
    return f"client-{uuid4().hex}"


@pytest.fixture
def client(redis_url: str, name: str) -> Iterator[Client]:
    found = connect(f"{redis_url}?client_name={name}", 30.0)
    yield found
    found.close()


@pytest.fixture
def echo(client: Client) -> Script:
    return Script(client, ECHO)


@pytest.fixture
def server(redis_url: str) -> Iterator[redis.Redis]:
    """A connection of the test's own."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as found:
        yield found


def close_others(server: redis.Redis) -> None:
    server.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def connections(server: redis.Redis, name: str) -> int:
    return [client["name"] for client in server.client_list()].count(name)


def test_kept(echo: Script, server: redis.Redis, name: str) -> None:
    """One call after the other goes over one connection."""
    assert [echo.call("k", [n]) for n in range(3)] == [["k", str(n)] for n in range(3)]
    assert connections(server, name) == 1


def test_closed_while_idle(echo: Script, server: redis.Redis) -> None:
    """A connection that the server has closed meanwhile is not used: the next call works."""
    echo.call("k", [1])
    close_others(server)
    assert echo.call("k", [2], unknown=("id",)) == ["k", "2"]


def test_no_server(unused_port: int) -> None:
    """Where no connection can be had nothing was carried out, and that is known."""
    echo = Script(connect(f"redis://127.0.0.1:{unused_port}", 30.0), ECHO)
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


def test_lost_while_an_answer_is_outstanding(echo: Script, server: redis.Redis) -> None:
    """A command whose answer doesn't come may have been carried out; the next gets its own."""
    echo.call("k", [1])
    server.client_pause(60_000, all=False)  # of what may write, as scripts do
    with pytest.raises(EnqueueUnknown):
        echo.call("k", [2], unknown=("id",), meanwhile=lambda: close_others(server))
    server.client_unpause()
    assert echo.call("k", [3]) == ["k", "3"]


def test_too_late(redis_url: str, server: redis.Redis) -> None:
    """An answer that comes after its time is not taken for that to the next call."""
    echo = Script(connect(redis_url, 30.0), ECHO)
    echo.call("k", [1])
    echo._kept._idle[-1].connection.update_current_socket_timeout(0.05)  # of this connection only
    server.client_pause(60_000, all=False)
    with pytest.raises(JournalUnavailable, match="Timeout"):
        echo.call("k", [2])
    server.client_unpause()
    assert echo.call("k", [3]) == ["k", "3"]


def test_error_meanwhile(echo: Script) -> None:
    """An answer that was not waited for is not taken for that to the next call."""

    def fail() -> None:
        raise LookupError("meanwhile")

    with pytest.raises(LookupError):
        echo.call("k", [1], meanwhile=fail)
    assert echo.call("k", [2]) == ["k", "2"]


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


def test_threads_at_once(echo: Script, server: redis.Redis, name: str) -> None:
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
    assert connections(server, name) == 4


def test_a_small_pool(redis_url: str) -> None:
    """What is kept is there for redis-py's own commands, before there are too many connections."""
    client = connect(f"{redis_url}?max_connections=2", 30.0)
    echo = Script(client, ECHO)
    assert echo.call("k", [1], meanwhile=lambda: echo.call("k", [2])) == ["k", "1"]
    assert client.ping()
    with client.pubsub() as one:
        one.subscribe("channel")  # keeps a connection of its own
        assert client.ping()
        assert echo.call("k", [3]) == ["k", "3"]
    client.close()


def test_all_in_use(redis_url: str) -> None:
    """One connection more than there may be is an error that says so, and nothing was sent."""
    echo = Script(connect(f"{redis_url}?max_connections=1", 30.0), ECHO)

    def meanwhile() -> None:
        with pytest.raises(JournalUnavailable, match="max_connections"):
            echo.call("k", [2], unknown=("id",))

    assert echo.call("k", [1], meanwhile=meanwhile) == ["k", "1"]


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_fork(echo: Script) -> None:
    """A child leaves its parent's connection alone, and the parent goes on with it."""
    echo.call("k", ["before"])
    kept = echo._kept._idle[-1]
    child = os.fork()
    if not child:
        status = 1
        try:
            own = echo.call("k", ["child"]) == ["k", "child"]
            status = 0 if own and echo._kept._idle[-1].connection is not kept.connection else 2
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert echo.call("k", ["after"]) == ["k", "after"]
    assert echo._kept._idle[-1].connection is kept.connection
