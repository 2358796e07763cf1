"""The breaker's contract: what all workers share on a real server, and what one has by itself."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace

import pytest
import redis

from mailqueue.delivery.connection import Connection, Limits
from mailqueue.delivery.gate.breaker import LocalBreaker, SharedBreaker, troubles
from mailqueue.delivery.trouble import Misconfigured, Paused, ServerTrouble
from mailqueue.queue.journal import now_on
from mailqueue.store.client import connect
from mailqueue.store.sealing import Sealer
from tests.contracts.journals import Clock
from tests.support import NEEDS_REDIS, wait_until

REFUSED, LOGIN = ServerTrouble("can't connect"), Misconfigured("535 no")
MAILER = "smtp.example.com:25"
KEY = f"mailqueue:{{mailer:{MAILER}}}:breaker"


@pytest.fixture(params=["redis_url", pytest.param("real_redis", marks=NEEDS_REDIS)])
def client(request: pytest.FixtureRequest) -> redis.Redis:
    """An empty database on a real Valkey, and on a real Redis.

    Not on fakeredis, whose scripts aren't atomic against other threads.
    """
    found = connect(request.getfixturevalue(request.param), 30.0)
    found.flushall()
    return found


@pytest.fixture
def breaker(client: redis.Redis, clock: Clock) -> Callable[..., SharedBreaker]:
    """Make a worker's breaker, which is on the clock."""

    def make(mailer: str = MAILER, chance: float = 0.5, **options: object) -> SharedBreaker:
        return clock.on(SharedBreaker(client, mailer, chance=lambda: chance, **options))

    return make


def end_pause(client: redis.Redis, clock: Clock) -> None:
    """Let the whole pause go by, of which a worker is told at most a second at a time."""
    clock.set(int(client.hget(KEY, "not_before")) / 1000)


def paused_for(client: redis.Redis, clock: Clock) -> float:
    """The seconds that the whole pause lasts."""
    return int(client.hget(KEY, "not_before")) / 1000 - clock.seconds


def test_a_failure_of_one_worker_keeps_all_away(breaker, clock):
    """From that mailer, and from no other; all are told why."""
    one, other = breaker(), breaker()
    assert one.look() == other.ask() == (0, True, "", True)
    assert one.note_failure(REFUSED) == 1
    clock.advance(0.25)
    assert other.look() == other.ask() == (0.75, False, "can't connect", True)
    assert breaker(mailer="another").look().closed
    clock.advance(0.749)
    assert other.look().wait > 0
    clock.advance(0.001)
    assert other.look() == (0, False, "can't connect", True)


@pytest.mark.parametrize("client", ["redis_url"], indirect=True)
def test_a_pause_ends_by_the_servers_own_time(client):
    """The first one after a second, if nobody says so before."""
    one = SharedBreaker(client, MAILER, chance=lambda: 0.5)
    before = now_on(client) - timedelta(milliseconds=1)  # the script knows no microseconds
    assert one.note_failure(REFUSED) == 1
    wait_until(lambda: one.look().wait == 0, 30)
    assert now_on(client) - before >= timedelta(seconds=1)
    assert not one.look().closed


@pytest.mark.parametrize("step", [-3600, -1, 1, 3000])
def test_no_step_of_the_servers_clock_makes_a_pause_longer(breaker, client, clock, step):
    """What is left of it stays the same, or the mailer is tried early; nobody waits for an hour."""
    one, other = breaker(), breaker()
    one.note_failure(LOGIN)
    clock.advance(20)
    assert other.look().wait > 0
    clock.step(step)
    other.look()
    left = int(client.hget(KEY, "not_before")) / 1000 - (clock.seconds + step)
    assert left == pytest.approx(min(40, 40 - step), abs=0.01)
    clock.advance(max(0, left))
    assert other.ask().wait == 0
    clock.step(step)
    other.look()
    clock.advance(60)  # the one that tries may take so long for it
    assert one.ask().wait == 0


def test_each_failure_doubles_the_pause_up_to_a_limit(breaker, client, clock):
    """1, 2, 4 and so on to 30 seconds; what is our own mistake from one minute to five."""
    one = breaker()
    for trouble, expected in [
        (REFUSED, [1, 2, 4, 8, 16, 30, 30]),
        (LOGIN, [60, 120, 240, 300, 300]),
    ]:
        seen = []
        for _ in expected:
            one.note_failure(trouble)
            seen.append(paused_for(client, clock))
            end_pause(client, clock)
        assert seen == expected
        one.close()


def test_the_pause_is_spread(breaker, client, clock):
    """By a tenth to either side, so that mailers that failed at once aren't tried at once."""
    for chance, expected in [(0.0, 54), (1.0, 66)]:
        one = breaker(chance=chance)
        one.note_failure(LOGIN)
        assert paused_for(client, clock) == expected
        one.close()


@pytest.mark.parametrize("trouble", [REFUSED, LOGIN])
def test_no_pause_is_longer_than_the_limit(trouble, breaker, client, clock):
    """Also where chance would make it longer: mail moves within a minute of a mailer's return."""
    one = breaker(chance=1.0)
    for _ in range(8):
        one.note_failure(trouble)
        paused = paused_for(client, clock)
        end_pause(client, clock)
    assert paused == (30 if trouble is REFUSED else 300)


def test_failures_of_workers_that_had_begun_before_are_one(breaker, client):
    """Twenty processes that meet a dead server at once don't make an hour of a second."""
    for _ in range(20):
        breaker().note_failure(REFUSED)
    assert troubles(client, Sealer())[0].failures == 1


def test_of_many_that_ask_exactly_one_may_try(breaker, client, clock):
    """When the pause is over; the others wait for what comes of it."""
    breaker().note_failure(REFUSED)
    end_pause(client, clock)
    may: list[bool] = []
    barrier = threading.Barrier(16)

    def work() -> None:
        one = breaker()
        barrier.wait()
        may.append(one.ask().wait == 0)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(may) == [False] * 15 + [True]


def test_looking_uses_up_no_permission(breaker, client, clock):
    """Whoever only wants to know whether there is any use in it keeps nobody from trying."""
    one, other = breaker(), breaker()
    one.note_failure(REFUSED)
    end_pause(client, clock)
    assert one.look().wait == one.look().wait == 0
    assert not one.look().closed
    assert other.ask().wait == 0
    assert one.look().wait > 0


def test_a_worker_that_dies_while_it_tries_does_not_end_all_tries(breaker, client, clock):
    """After its patience another may."""
    one, other = breaker(), breaker()
    one.note_failure(REFUSED)
    end_pause(client, clock)
    assert one.ask().wait == 0
    clock.advance(29.999)
    assert other.ask().wait > 0
    clock.advance(0.001)
    assert other.ask().wait == 0
    assert one.ask().wait > 0


def test_asking_a_closed_breaker_keeps_nobody_away(breaker, client):
    """All may open connections while a mailer works, and nothing is noted."""
    for one in (breaker(), breaker(), breaker()):
        assert one.ask() == (0, True, "", True)
    assert not client.exists(KEY)


def test_a_try_that_fails_is_over(breaker, client, clock):
    """The next one comes after the pause, also where the patience would have lasted longer."""
    one = breaker()
    one.note_failure(REFUSED)
    end_pause(client, clock)
    assert one.ask().wait == 0
    one.note_failure(REFUSED)
    clock.advance(1.999)
    assert one.look().wait > 0
    clock.advance(0.001)
    assert one.ask().wait == 0


def test_what_is_shown_begins_with_the_first_failure(breaker, client, clock):
    """A mailer in trouble shows since when, how often, and until when, whatever the chance."""
    one, since = breaker(chance=1 / 3), clock.after(0)
    one.note_failure(REFUSED)
    end_pause(client, clock)
    one.note_failure(REFUSED)
    (trouble,) = troubles(client, Sealer())
    assert (trouble.since, trouble.failures) == (since, 2)
    assert timedelta(seconds=1.9) < trouble.not_before - clock.after(0) < timedelta(seconds=2)


def test_success_closes_it_for_all(breaker, client, clock, caplog):
    """Only of the one that tries: a connection from before says nothing about new ones."""
    caplog.set_level(logging.INFO)
    one, other = breaker(), breaker()
    one.note_failure(REFUSED)
    other.note_success()
    assert not one.look().closed
    end_pause(client, clock)
    assert one.ask().wait == 0
    one.note_success()
    assert other.look() == (0, True, "", True)
    assert "mailer smtp.example.com:25 works again" in caplog.text
    assert client.keys("*:breaker") == []


def test_an_alarm_is_raised_once_and_ends_with_success(breaker, client, clock, caplog):
    """However many workers meet it; one line at the level ERROR."""
    one, other = breaker(), breaker()
    one.note_failure(REFUSED)
    other.note_failure(LOGIN)  # also when the breaker is open already
    other.note_failure(LOGIN)
    end_pause(client, clock)
    one.note_failure(LOGIN)
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "our own mistake: 535 no" in errors[0].getMessage()
    (trouble,) = troubles(client, Sealer())
    assert (trouble.mailer, trouble.alarm, trouble.reason) == (
        MAILER,
        True,
        "535 no",
    )
    end_pause(client, clock)
    one.ask()
    one.note_success()
    assert troubles(client, Sealer()) == []


def test_a_start_may_try_at_once_what_was_our_mistake(breaker):
    """It may mend it; a server that is away is not helped by workers that start."""
    one = breaker()
    one.note_failure(REFUSED)
    assert not one.hasten()
    one.note_failure(LOGIN)
    assert one.hasten()
    assert breaker().ask().wait == 0


def test_a_start_waits_for_nobody_who_tries_what_was_our_mistake(breaker, client, clock):
    """It may have mended it, which whoever tries in vain since before knows nothing of."""
    one, other = breaker(), breaker()
    one.note_failure(LOGIN)
    end_pause(client, clock)
    assert one.ask().wait == 0
    assert other.ask().wait > 0
    assert other.hasten()
    assert other.ask().wait == 0


def test_an_operator_may_close_it(breaker):
    """And is told whether there was anything to close."""
    one = breaker()
    assert not one.close()
    one.note_failure(LOGIN)
    assert one.close()
    assert one.look().closed


def test_it_is_forgotten_when_nobody_fails_any_more(breaker, client, clock):
    """A mailer that has no mail, or another name, must not be in alarm for ever."""
    one = breaker()
    one.note_failure(LOGIN)
    end_pause(client, clock)
    one.note_failure(LOGIN)
    clock.advance(3600)
    assert not one.look().closed
    clock.advance(0.001)
    assert one.look().closed
    assert troubles(client, Sealer()) == []


@pytest.mark.parametrize("trouble", [REFUSED, LOGIN])
def test_without_the_journal_a_worker_has_its_own(unused_port, trouble):
    """It keeps away by itself, longer each time, and comes back."""
    away = connect(f"redis://127.0.0.1:{unused_port}/0", 30.0)
    now = [0.0]
    one = SharedBreaker(away, "m", chance=lambda: 0.5, clock=lambda: now[0])
    assert one.ask() == (0, True, "", True)
    first = one.note_failure(trouble)
    assert first == (60 if trouble is LOGIN else 1)
    now[0] += first / 2
    assert one.look() == one.ask() == (first / 2, False, trouble.reply, True)
    now[0] += first / 2
    assert one.ask().wait == 0
    assert one.note_failure(trouble) == 2 * first
    one.note_success()
    assert one.look().closed


def test_the_local_one_doubles_its_pause_too():
    """By its own clock."""
    now = [0.0]
    one = LocalBreaker(clock=lambda: now[0], chance=lambda: 0.5)
    pauses = []
    for _ in range(8):
        pauses.append(one.note_failure(REFUSED))
        now[0] += pauses[-1]
        assert one.ask().wait == 0
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]
    one.note_success()
    assert one.note_failure(LOGIN) == 60


def test_a_connection_in_a_pause_is_not_opened(breaker, client, clock):
    """Not even once; the reason is the one that the breaker was opened with."""
    breaker().note_failure(LOGIN)

    def never() -> None:
        raise AssertionError("opened")

    limits = Limits(1, 1, 1)
    connection = Connection(never, limits, lambda: clock.seconds, breaker())
    assert connection.is_paused()
    turn = SimpleNamespace(outgoing=None, commit=lambda _: [], collect=lambda: None)
    with pytest.raises(Paused, match="535 no"):
        connection.deliver(turn)
    assert connection.pause == 1
    assert troubles(client, Sealer())[0].failures == 1


def test_a_connection_that_works_closes_the_breaker_too(breaker, client, clock):
    """While in doubt: the others needn't wait until one of them is let through to try."""
    one, other = breaker(), breaker(clock=lambda: clock.seconds)
    one.note_failure(REFUSED)
    other.watch()
    other.note_success()
    assert not one.look().closed  # in its pause, an old connection proves nothing
    clock.advance(0.999)
    other.watch()  # too soon for another look
    clock.advance(0.001)
    other.note_success()
    assert not one.look().closed
    other.watch()
    other.note_success()
    assert one.look().closed
