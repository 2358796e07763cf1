"""Connections that die without a word: asked where they were idle, given up in time, replaced."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from uuid import uuid4

import pytest

from mailqueue import EmailMessage
from mailqueue.errors import EnqueueUnknown, JournalUnavailable
from mailqueue.monitor import report
from mailqueue.queue.broker import broker_of, producer_app
from mailqueue.queue.journal import open_journal
from mailqueue.queue.publisher import publish
from mailqueue.store.client import Client, connect
from mailqueue.store.script import Script
from tests.patience import within
from tests.proxy import Proxy
from tests.servers import Valkey

ECHO = "return {KEYS[1], ARGV[1]}"
TIMEOUT = 2.0  # seconds; what is found in time is found in less than half of it
IDLE = 11.0


@pytest.fixture
def network(valkey: Valkey, redis_url: str) -> Iterator[Proxy]:
    """What lies between this process and the server."""
    with Proxy(valkey.port) as proxy:
        yield proxy


@pytest.fixture
def url(network: Proxy) -> str:
    return f"redis://127.0.0.1:{network.port}/0?client_name={uuid4().hex}"


@pytest.fixture(params=["direct", "redis-py"])
def client(url: str, request: pytest.FixtureRequest, monkeypatch) -> Iterator[Client]:
    if request.param == "redis-py":
        monkeypatch.setattr("mailqueue.store.direct.pack", None)
    found = connect(url, TIMEOUT)
    yield found
    found.close()


@pytest.fixture
def sending(url: str, producer: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process sends over the network, each message with a task of its own."""
    monkeypatch.setenv("MAILQUEUE_JOURNAL_URL", url)
    monkeypatch.setenv("MAILQUEUE_BROKER_URL", url.partition("?")[0])
    monkeypatch.setenv("MAILQUEUE_ENQUEUE_TIMEOUT", str(TIMEOUT))
    monkeypatch.setenv("MAILQUEUE_BATCH_SIZE", "1")
    letter().send()


def letter() -> EmailMessage:
    return EmailMessage("Hello", "A letter", "from@example.com", ["to@example.com"])


def let_idle(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what is idle now have been idle for long."""
    monkeypatch.setattr(client.connection_pool, "clock", lambda: time.monotonic() + IDLE)


def messages() -> int:
    return len(list(report.records(report.Filter())))


def test_one_that_was_idle_is_replaced(client, network, monkeypatch):
    """A fresh connection is taken in a small part of the time, and the call works."""
    echo = Script(client, ECHO)
    echo.call("k", [1])
    network.forget()
    let_idle(client, monkeypatch)
    with within(TIMEOUT / 2):
        assert echo.call("k", [2], unknown=("id",)) == ["k", "2"]


def test_all_that_were_idle_are_given_up_together(client, network, monkeypatch):
    """Of many that are dead one is asked."""
    pool = client.connection_pool
    for connection in [pool.get_connection() for _ in range(10)]:
        pool.release(connection)
    network.forget()
    let_idle(client, monkeypatch)
    with within(TIMEOUT / 2):
        assert client.ping()
    assert network.connections == 11


def test_one_that_lives_is_asked_and_used(url, network, monkeypatch):
    """However long it was idle; nothing new is opened."""
    client = connect(url, 30.0)
    echo = Script(client, ECHO)
    echo.call("k", [1])
    before = network.connections
    let_idle(client, monkeypatch)
    assert echo.call("k", [2]) == ["k", "2"]
    assert network.connections == before
    client.close()


def test_where_nothing_gets_through_nothing_was_sent(client, network, monkeypatch):
    """Asking and connecting anew take no longer than the time-out, and it is known as no accept."""
    echo = Script(client, ECHO)
    echo.call("k", [1])
    network.fall_silent()
    let_idle(client, monkeypatch)
    with within(TIMEOUT * 5 / 4), pytest.raises(JournalUnavailable):
        echo.call("k", [2], unknown=("id",))


def test_a_send_on_a_quiet_site(sending, network, monkeypatch):
    """Journal and broker are reached over fresh connections: accepted at once, and published."""
    let_idle(open_journal()._client, monkeypatch)
    broker = broker_of(producer_app(), TIMEOUT / 2, os.getpid())
    monkeypatch.setattr(broker, "_clock", lambda: time.monotonic() + IDLE)
    network.forget()
    with within(TIMEOUT / 2):
        assert letter().send() == 1
    assert broker.is_there
    assert messages() == 2


def test_a_send_over_one_that_dies_in_use(sending, network):
    """The accept is repeated over a fresh connection, and makes one message."""
    network.forget()
    with within(TIMEOUT * 5 / 4):
        assert letter().send() == 1
    assert messages() == 2


def test_an_answer_that_is_late_makes_one_message(sending, network):
    """What the journal was told twice it has once; with no answer at all the end is unknown."""
    network.hold_replies()
    message = letter()
    with within(TIMEOUT * 5 / 4), pytest.raises(EnqueueUnknown):
        message.send()
    network._holding = False
    assert message.send() == 1
    assert messages() == 2


def test_a_broker_whose_connection_dies_in_use_is_given_up(sending, network):
    """Nothing is published then, in half of the time; the message is there."""
    network.forget()
    with within(TIMEOUT * 5 / 4):
        assert not publish("mailqueue", [("id", "")])
