"""A worker that takes no more tasks, though it has none, connects anew."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
from celery.concurrency.solo import TaskPool

from mailqueue.worker.stall import Stall, Wait
from mailqueue.worker.watchdog import Watchdog


class Consumer:
    """A worker's consumer as far as it is looked at; it can't be made deaf by force."""

    def __init__(self) -> None:
        self.may_take_tasks = True
        self.pool: object = None
        self.asked: list[Callable[[], None]] = []
        qos = SimpleNamespace(can_consume=lambda: self.may_take_tasks)
        self.task_consumer = SimpleNamespace(channel=SimpleNamespace(qos=qos))

    def call_soon(self, function: Callable[[], None]) -> None:
        self.asked.append(function)


def test_two_looks_that_find_the_same_have_it_connect_anew():
    """Once for the two: a connection that is being made takes its time."""
    consumer = Consumer()
    hearing = Watchdog(consumer)
    consumer.may_take_tasks = False
    seen = []
    for _ in range(5):
        hearing.check()
        seen.append(len(consumer.asked))
    assert seen == [0, 1, 1, 2, 2]
    with pytest.raises(ConnectionResetError):
        consumer.asked[0]()


def test_a_moment_without_tasks_is_nothing():
    """A worker that may take tasks again by the next look keeps its connection."""
    consumer = Consumer()
    hearing = Watchdog(consumer)
    for may_take_tasks in (False, True, False, True):
        consumer.may_take_tasks = may_take_tasks
        hearing.check()
    assert consumer.asked == []


def test_a_broker_that_counts_for_itself_is_left_alone():
    """With AMQP it is the broker that knows what a worker holds."""
    consumer = Consumer()
    consumer.task_consumer = SimpleNamespace(channel=SimpleNamespace())
    hearing = Watchdog(consumer)
    hearing.check()
    hearing.check()
    assert consumer.asked == []


class Stalled(Stall[Wait]):
    """Has waited for socket 7 for ten seconds."""

    def __init__(self) -> None:
        super().__init__(look=lambda: None)

    def found(self, limit: float) -> Wait | None:
        return Wait(7, 1) if limit < 10 else None


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sockets whose connections were ended."""
    found: list[int] = []
    monkeypatch.setattr("mailqueue.worker.watchdog.end_connection", found.append)
    return found


def test_a_worker_that_stops_waits_for_its_broker_for_less_time(ended):
    """Ten seconds are no stall for one that works, and too much for one that is to end."""
    consumer = Consumer()
    watchdog = Watchdog(consumer, Stalled())
    watchdog.check()
    assert (ended, consumer.asked) == ([], [])
    watchdog.check(stopping=True)
    assert ended == [7]
    assert len(consumer.asked) == 1


def test_a_task_in_the_main_thread_may_take_as_long_as_it_likes(ended, monkeypatch):
    """With `solo` the main thread may wait for a mail server."""
    consumer = Consumer()
    consumer.pool = TaskPool()
    monkeypatch.setattr("celery.worker.state.active_requests", {"a task"})
    Watchdog(consumer, Stalled()).check(stopping=True)
    assert ended == []
