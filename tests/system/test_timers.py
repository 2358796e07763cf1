"""Several workers' timers: what is due is for one that can publish."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mailqueue.conf import settings
from mailqueue.delivery.gate.breaker import View
from mailqueue.queue.journal import Journal, open_journal
from mailqueue.state import State
from mailqueue.store.client import connect
from mailqueue.worker.timer import Timer
from tests.contracts.delivering import letter, post, record
from tests.line import let_time_pass
from tests.patience import within
from tests.proxy import Proxy
from tests.support import Worker, wait_until

QUEUE = "timers"
TASKS = f"{QUEUE}\x06\x163"  # where kombu keeps tasks of normal priority


@pytest.fixture
def journal(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Journal:
    monkeypatch.setenv("MAILQUEUE_JOURNAL_URL", redis_url)
    monkeypatch.setenv("MAILQUEUE_BROKER_URL", redis_url)
    monkeypatch.setenv("MAILQUEUE_QUEUE", QUEUE)
    return open_journal()


@pytest.fixture
def timer(journal: Journal) -> Callable[[], Timer]:
    """Makes the timer of a worker."""
    return lambda: Timer(lambda: [journal], lambda: View(0, closed=True, reason=""))


@pytest.fixture
def without_broker(unused_port: int, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets a timer look once where nobody can be reached at the broker's address."""

    def look(found: Timer) -> None:
        with monkeypatch.context() as patch:
            patch.setenv("MAILQUEUE_BROKER_URL", f"redis://127.0.0.1:{unused_port}/0")
            settings.reset()
            found.round()
        settings.reset()

    return look


def next_second(journal: Journal) -> None:
    """Let a timer have the next tick."""
    journal._client.hdel(f"mailqueue:{{{QUEUE}}}:clock", "ticked")


def test_a_timer_that_can_not_publish_leaves_what_is_due_to_others(
    journal, timer, without_broker, redis_url
):
    """It had the tick second after second, and no other worker's timer published anything."""
    post(journal, letter())
    let_time_pass(redis_url, QUEUE)
    deaf, sound = timer(), timer()
    without_broker(deaf)
    assert record(journal).state is State.QUEUED
    next_second(journal)
    without_broker(deaf)  # the first in this second, too
    sound.round()
    assert connect(redis_url, 2.0).llen(TASKS) == 1


def test_a_timer_that_reaches_the_broker_again_publishes(
    journal, timer, without_broker, redis_url, monkeypatch
):
    """What it couldn't publish is due as soon as it can, with no other worker there."""
    post(journal, letter())
    let_time_pass(redis_url, QUEUE)
    found = timer()
    without_broker(found)

    def looks() -> bool:
        next_second(journal)
        found.round()
        return connect(redis_url, 2.0).llen(TASKS) == 1

    wait_until(looks, 10)


@pytest.mark.long
@pytest.mark.usefixtures("producer")
def test_a_worker_whose_broker_is_gone_holds_up_no_message_of_others(
    start_worker, valkey, redis_url, monkeypatch
):
    """Two workers, one of which has lost its way to the broker: what is due goes by the other."""
    apart = {"MAILQUEUE_JOURNAL_URL": redis_url, "MAILQUEUE_QUEUE": QUEUE}
    with Proxy(valkey.port) as proxy:
        way = f"redis://127.0.0.1:{proxy.port}/0"
        deaf: Worker = start_worker(**apart, MAILQUEUE_BROKER_URL=way)
        sound: Worker = start_worker(**apart)
    for name, value in apart.items():
        monkeypatch.setenv(name, value)
    journal = open_journal()
    with within(40):
        for n in range(5):
            post(journal, letter(), f"m{n}")
            let_time_pass(redis_url, QUEUE)
            wait_until(
                lambda id_=f"m{n}": record(journal, id_).state is State.SENT,
                10,
                lambda: f"{sound.explain()}\n{deaf.explain()}",
            )
