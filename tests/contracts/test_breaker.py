"""The breaker's contract: what all workers share on a real server, and what one has by itself."""

from __future__ import annotations

import logging
import threading
from types import SimpleNamespace

import pytest
import redis

from mailqueue.breaker import LocalBreaker, Pauses, SharedBreaker, troubles
from mailqueue.connection import Connection, Limits
from mailqueue.journal import connect
from mailqueue.outcome import Misconfigured, Paused, ServerTrouble
from mailqueue.sealing import Sealer
from tests.support import NEEDS_REDIS, wait_until

REFUSED, LOGIN = ServerTrouble("can't connect"), Misconfigured("535 no")
# In tests a second is too short to be over before the next line on a busy machine.
LONG = Pauses(first=30, longest=60, first_of_alarm=60, longest_of_alarm=300)
SHORT = Pauses(first=0.05, longest=0.2, first_of_alarm=0.1, longest_of_alarm=0.2, patience=0.1)


@pytest.fixture(params=["redis_url", pytest.param("real_redis", marks=NEEDS_REDIS)])
def client(request: pytest.FixtureRequest) -> redis.Redis:
    """An empty database on a real Valkey, and on a real Redis.

    Not on fakeredis, whose scripts aren't atomic against other threads.
    """
    found = connect(request.getfixturevalue(request.param), 2.0)
    found.flushall()
    return found


def breaker(client, pauses: Pauses = LONG, mailer: str = "smtp.example.com:25") -> SharedBreaker:
    return SharedBreaker(client, mailer, pauses=pauses, chance=lambda: 0.5)


def due(one) -> bool:
    """Whether its pause is over."""
    return one.look().wait == 0


def end_pause(client) -> None:
    """End the pause, as time does."""
    client.hset("mailqueue:{mailer:smtp.example.com:25}:breaker", "not_before", 0)


def paused_for(client) -> float:
    """The seconds that the whole pause lasts, of which a worker is told at most one at a time."""
    (key,) = client.keys("*:breaker")
    seconds, microseconds = client.time()
    return int(client.hget(key, "not_before")) / 1000 - seconds - microseconds / 1e6


def test_a_failure_of_one_worker_keeps_all_away(client):
    """From that mailer, and from no other; all are told why."""
    one, other = breaker(client), breaker(client)
    assert one.look() == other.ask() == (0, True, "")
    assert 0 < one.failed(REFUSED) <= 1
    for found in (other.look(), other.ask()):
        assert 0 < found.wait <= 1
        assert found[1:] == (False, "can't connect")
    assert breaker(client, mailer="another").look().closed


def test_each_failure_doubles_the_pause_up_to_a_limit(client):
    """1, 2, 4 and so on to 60 seconds; what is our own mistake from one minute to five."""
    one = SharedBreaker(client, "smtp.example.com:25", chance=lambda: 0.5)
    for trouble, expected in [
        (REFUSED, [1, 2, 4, 8, 16, 32, 60, 60]),
        (LOGIN, [60, 120, 240, 300, 300]),
    ]:
        seen = []
        for _ in expected:
            one.failed(trouble)
            seen.append(paused_for(client))
            end_pause(client)
        assert seen == pytest.approx(expected, abs=0.5)
        one.close()


def test_the_pause_is_spread(client):
    """By a tenth to either side, so that mailers that failed at once aren't tried at once."""
    for chance, expected in [(0.0, 54), (1.0, 66)]:
        one = SharedBreaker(client, "smtp.example.com:25", chance=lambda c=chance: c)
        one.failed(LOGIN)
        assert paused_for(client) == pytest.approx(expected, abs=0.5)
        one.close()


def test_failures_of_workers_that_had_begun_before_are_one(client):
    """Twenty processes that meet a dead server at once don't make an hour of a second."""
    for _ in range(20):
        breaker(client).failed(REFUSED)
    assert troubles(client, Sealer())[0].failures == 1


def test_of_many_that_ask_exactly_one_may_try(client):
    """When the pause is over; the others wait for what comes of it."""
    breaker(client).failed(REFUSED)
    end_pause(client)
    may: list[bool] = []
    barrier = threading.Barrier(16)

    def work() -> None:
        one = breaker(client)
        barrier.wait()
        may.append(one.ask().wait == 0)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(may) == [False] * 15 + [True]


def test_looking_uses_up_no_permission(client):
    """Whoever only wants to know whether there is any use in it keeps nobody from trying."""
    one, other = breaker(client), breaker(client)
    one.failed(REFUSED)
    end_pause(client)
    assert one.look().wait == one.look().wait == 0
    assert not one.look().closed
    assert other.ask().wait == 0
    assert one.look().wait > 0


def test_a_worker_that_dies_while_it_tries_does_not_end_all_tries(client):
    """After its patience another may."""
    one, other = breaker(client, SHORT), breaker(client, SHORT)
    one.failed(REFUSED)
    wait_until(lambda: due(one), 5)
    assert one.ask().wait == 0
    assert other.ask().wait > 0
    wait_until(lambda: other.ask().wait == 0, 5)


def test_success_closes_it_for_all(client, caplog):
    """Only of the one that tries: a connection from before says nothing about new ones."""
    caplog.set_level(logging.INFO)
    one, other = breaker(client), breaker(client)
    one.failed(REFUSED)
    other.succeeded()
    assert not one.look().closed
    end_pause(client)
    assert one.ask().wait == 0
    one.succeeded()
    assert other.look() == (0, True, "")
    assert "mailer smtp.example.com:25 works again" in caplog.text
    assert client.keys("*:breaker") == []


def test_an_alarm_is_raised_once_and_ends_with_success(client, caplog):
    """However many workers meet it; one line at the level ERROR."""
    one, other = breaker(client), breaker(client)
    one.failed(REFUSED)
    other.failed(LOGIN)  # also when the breaker is open already
    other.failed(LOGIN)
    end_pause(client)
    one.failed(LOGIN)
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "our own mistake: 535 no" in errors[0].getMessage()
    (trouble,) = troubles(client, Sealer())
    assert (trouble.mailer, trouble.alarm, trouble.reason) == (
        "smtp.example.com:25",
        True,
        "535 no",
    )
    end_pause(client)
    one.ask()
    one.succeeded()
    assert troubles(client, Sealer()) == []


def test_a_start_may_try_at_once_what_was_our_mistake(client):
    """It may mend it; a server that is away is not helped by workers that start."""
    one = breaker(client)
    one.failed(REFUSED)
    assert not one.hasten()
    one.failed(LOGIN)
    assert one.hasten()
    assert breaker(client).ask().wait == 0


def test_an_operator_may_close_it(client):
    """And is told whether there was anything to close."""
    one = breaker(client)
    assert not one.close()
    one.failed(LOGIN)
    assert one.close()
    assert one.look().closed


def test_it_is_forgotten_when_nobody_fails_any_more(client):
    """A mailer that has no mail, or another name, must not be in alarm for ever."""
    breaker(client).failed(LOGIN)
    (key,) = client.keys("*:breaker")
    assert 3500 < client.ttl(key) <= 3600


@pytest.mark.parametrize("trouble", [REFUSED, LOGIN])
def test_without_the_journal_a_worker_has_its_own(unused_port, trouble):
    """It keeps away by itself, longer each time, and comes back."""
    away = connect(f"redis://127.0.0.1:{unused_port}/0", 0.5)
    one = SharedBreaker(away, "m", pauses=SHORT, chance=lambda: 0.5)
    assert one.ask() == (0, True, "")
    assert one.failed(trouble) > 0
    assert not one.look().closed
    wait_until(lambda: due(one), 5)
    assert one.ask().wait == 0
    one.succeeded()
    assert one.look().closed


def test_the_local_one_doubles_its_pause_too():
    """By its own clock."""
    now = [0.0]
    one = LocalBreaker(clock=lambda: now[0], chance=lambda: 0.5)
    pauses = []
    for _ in range(8):
        pauses.append(one.failed(REFUSED))
        now[0] += pauses[-1]
        assert one.ask().wait == 0
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    one.succeeded()
    assert one.failed(LOGIN) == 60


def test_a_connection_in_a_pause_is_not_opened(client):
    """Not even once; the reason is the one that the breaker was opened with."""
    breaker(client).failed(LOGIN)

    def never() -> None:
        raise AssertionError("opened")

    connection = Connection(never, Limits(1, 1, 1), breaker=breaker(client))
    assert connection.is_paused()
    turn = SimpleNamespace(outgoing=None, commit=lambda _: [], collect=lambda: None)
    with pytest.raises(Paused, match="535 no"):
        connection.deliver(turn)
    assert 0 < connection.pause <= 1
    assert troubles(client, Sealer())[0].failures == 1


def test_a_connection_that_works_closes_the_breaker_too(client):
    """While in doubt: the others needn't wait until one of them is let through to try."""
    one, other = breaker(client), breaker(client)
    one.failed(REFUSED)
    other.watch()
    other.succeeded()
    assert not one.look().closed  # in its pause, an old connection proves nothing
    end_pause(client)
    wait_until(lambda: other.watch() or other.succeeded() or one.look().closed, 10)
