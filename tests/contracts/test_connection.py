"""A worker's connection: how long it is kept, and what delivers where SMTP doesn't."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from mailqueue.delivery import opening
from mailqueue.delivery.connection import Connection, Limits
from mailqueue.delivery.gate.breaker import LocalBreaker
from mailqueue.delivery.opening import mailer_name
from mailqueue.delivery.trouble import ServerTrouble
from mailqueue.queue.journal import Journal, open_journal
from mailqueue.state import State
from tests.contracts.delivering import (
    LIMITS,
    connected,
    deliver,
    letter,
    post,
    record,
    results,
)
from tests.scripted import SILENCE, ScriptedServer
from tests.support import wait_until


@pytest.fixture
def journal(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Journal:
    monkeypatch.setenv("MAILQUEUE_BROKER_URL", redis_url)
    return open_journal()


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as found:
        yield found


class Clock:
    """A time that passes when the test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def sends(journal: Journal, connection: Connection, id_: str) -> None:
    post(journal, letter(), id_)
    assert deliver(journal, connection, [id_]) == {"sent": 1}


def test_a_connection_is_replaced_when_it_is_old(journal, server):
    """A connection carries no more messages from CONNECTION_MAX_AGE seconds on."""
    clock = Clock()
    limits = replace(LIMITS, idle=10_000)
    with connected(server, limits=limits, clock=clock) as connection:
        sends(journal, connection, "a")
        clock.now += 599
        sends(journal, connection, "b")
        assert server.sessions == 1
        clock.now += 1
        sends(journal, connection, "c")
        assert server.sessions == 2
    assert server.verbs(1)[-1] == "QUIT"


def test_a_connection_that_sends_nothing_is_closed(journal, server):
    """A connection that has been idle for CONNECTION_IDLE seconds is closed, politely."""
    clock = Clock()
    with connected(server, clock=clock) as connection:
        sends(journal, connection, "a")
        clock.now += 29
        connection.close_if_idle()
        sends(journal, connection, "b")
        assert server.sessions == 1
        clock.now += 29
        connection.close_if_idle()
        assert "QUIT" not in server.verbs()
        clock.now += 1
        connection.close_if_idle()
        assert server.verbs()[-1] == "QUIT"
        sends(journal, connection, "c")
        assert server.sessions == 2


def test_a_connection_carries_so_many_messages(journal, server):
    """After CONNECTION_MAX_MESSAGES messages the next goes over another connection."""
    with connected(server, limits=replace(LIMITS, max_messages=3)) as connection:
        for number in range(7):
            sends(journal, connection, f"m{number}")
    assert [server.verbs(session).count("MAIL") for session in (1, 2, 3)] == [3, 3, 1]


def test_an_open_connection_goes_on_while_no_new_one_may_be_opened(journal, server):
    """A breaker that another worker has opened keeps from connecting, not from sending."""
    breaker = LocalBreaker()
    with connected(server, breaker=breaker) as connection:
        sends(journal, connection, "a")
        breaker.note_failure(ServerTrouble("421 going down"))
        sends(journal, connection, "b")
        breaker.note_failure(ServerTrouble("421 going down"))
        connection.close()
        post(journal, letter(), "c")
        assert deliver(journal, connection, ["c"]) == {}
    assert (server.sessions, len(server.accepted)) == (1, 2)
    assert record(journal, "c").attempts == 0


def test_the_limits_are_those_of_the_settings(monkeypatch):
    """A worker's connection is closed as the settings CONNECTION_… say."""
    monkeypatch.setenv("MAILQUEUE_CONNECTION_MAX_MESSAGES", "5")
    monkeypatch.setenv("MAILQUEUE_CONNECTION_MAX_AGE", "7m")
    monkeypatch.setenv("MAILQUEUE_CONNECTION_IDLE", "9s")
    assert opening._limits() == Limits(max_messages=5, max_age=420, idle=9)


def test_a_worker_closes_its_connection_while_it_sends_nothing(
    journal, server, monkeypatch, request
):
    """After CONNECTION_IDLE it takes leave of the server, without another message to send."""
    monkeypatch.setenv("EMAIL_HOST", "127.0.0.1")
    monkeypatch.setenv("EMAIL_PORT", str(server.port))
    monkeypatch.setenv("MAILQUEUE_CONNECTION_IDLE", "1s")
    request.addfinalizer(opening.close_connections)
    with opening.connection_pool().borrow() as connection:
        sends(journal, connection, "m")
    wait_until(server.has_been_left, 10)
    assert server.verbs()[-1] == "QUIT"


@pytest.fixture
def by_settings(journal: Journal) -> Iterator[Connection]:
    """A connection to whatever the settings name."""
    connection = Connection(opening.open_transport, LIMITS)
    yield connection
    connection.close()


def test_a_mailer_may_deliver(journal, by_settings, smtp_server, monkeypatch):
    """The mailer that USING names delivers, whatever BACKEND and EMAIL_HOST are."""
    options = f'{{"host": "127.0.0.1", "port": {smtp_server.port}}}'
    smtp = f'{{"BACKEND": "mailqueue.backends.smtp.EmailBackend", "OPTIONS": {options}}}'
    queue = '{"BACKEND": "mailqueue.backends.queue.EmailBackend"}'
    monkeypatch.setenv("MAILERS", f'{{"default": {queue}, "newsletters": {smtp}}}')
    monkeypatch.setenv("MAILQUEUE_USING", "newsletters")
    monkeypatch.setenv("MAILQUEUE_BACKEND", "mailqueue.backends.dummy.EmailBackend")
    sends(journal, by_settings, "m")
    assert len(smtp_server.received) == 1
    assert mailer_name() == "newsletters"


@pytest.mark.timeout(60)
def test_a_mailers_time_out_bounds_each_step(journal, by_settings, server, monkeypatch):
    """A server that says nothing to MAIL is left after that; without one it had five minutes."""
    server.script = lambda _, phase, __: SILENCE if phase == "MAIL" else None
    options = f'{{"host": "127.0.0.1", "port": {server.port}, "timeout": 1}}'
    smtp = f'{{"BACKEND": "mailqueue.backends.smtp.EmailBackend", "OPTIONS": {options}}}'
    monkeypatch.setenv("MAILERS", f'{{"default": {smtp}}}')
    monkeypatch.setenv("MAILQUEUE_USING", "default")
    post(journal, letter(), "m")
    assert deliver(journal, by_settings, ["m"]) == {}
    assert "timed out" in record(journal, "m").reply


def test_any_backend_may_deliver(journal, by_settings, monkeypatch):
    """The backend that BACKEND names delivers, and the record says which it was."""
    monkeypatch.setenv("MAILQUEUE_BACKEND", "mailqueue.backends.dummy.EmailBackend")
    sends(journal, by_settings, "m")
    answer = "sent by mailqueue.backends.dummy.EmailBackend"
    assert results(journal) == {"to@example.com": ("sent", answer)}


class Unable:
    """A backend of a service that can't say why."""

    def __init__(self, **_: object) -> None: ...

    def open(self) -> None: ...

    def close(self) -> None: ...

    def send_messages(self, messages: object) -> int:
        raise RuntimeError("the service has a cold")


def test_what_a_backend_raises_without_a_word_of_mail_costs_nothing(
    journal, by_settings, monkeypatch
):
    """An exception that nobody can explain costs no attempt, and the message is tried again."""
    monkeypatch.setenv("MAILQUEUE_BACKEND", f"{__name__}.Unable")
    post(journal, letter())
    assert deliver(journal, by_settings) == {"retrying": 1}
    found = record(journal)
    assert (found.state, found.attempts) == (State.RETRYING, 0)
    assert found.reply == "RuntimeError: the service has a cold"
