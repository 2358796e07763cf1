"""An exception from outside in the middle of `send()`: it comes out, and nothing else changes."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import FrameType
from uuid import uuid4

import pytest

from mailqueue import EmailMessage
from mailqueue.monitor import report
from mailqueue.queue import broker
from mailqueue.queue.broker import broker_of, producer_app
from mailqueue.queue.journal import open_journal
from mailqueue.store import client
from tests.interruption import Interruption, Outside

# Where something is thrown away (a `__del__`, a weak reference's callback, a socket that nobody has
# yet), Python itself drops the exception, and tells of it.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]
CONNECTIONS = 3
# Where redis-py itself catches whatever is raised while it counts for its own metrics.
CAUGHT = ("get_observability_instance", "ObservabilityInstance.")


@pytest.fixture(params=["direct", "redis-py", "fsync"])
def way(
    request: pytest.FixtureRequest, redis_url: str, monkeypatch: pytest.MonkeyPatch, producer: None
) -> str:
    """How the journal is asked, over few connections; each message has a task of its own."""
    if request.param == "redis-py":
        monkeypatch.setattr("mailqueue.store.direct.pack", None)
    if request.param == "fsync":
        monkeypatch.setenv("MAILQUEUE_DURABILITY", "fsync")
    options = f"max_connections={CONNECTIONS}&client_name={uuid4().hex}"
    monkeypatch.setenv("MAILQUEUE_JOURNAL_URL", f"{redis_url}?{options}")
    monkeypatch.setenv("MAILQUEUE_BATCH_SIZE", "1")
    return str(request.param)


def letter(to: str) -> EmailMessage:
    return EmailMessage("Hello", "A letter", "from@example.com", [to])


def forget_all() -> None:
    """Be like a process that has sent nothing yet."""
    client._client.cache_clear()
    broker_of.cache_clear()
    broker._own_app.cache_clear()


def points(prepare: Callable[[], object]) -> int:
    """At how many points of a `send()` the exception may come."""
    prepare()
    counting = Interruption()
    counting.during(letter("count@example.com").send)
    return counting.passed


def some(number: int, many: int) -> Iterator[int]:
    """So many points, at even distances, each time others of a `send()` that has moved on."""
    yield from range(0, number, max(number // many, 1))


def check_next(message: EmailMessage) -> None:
    """The object is known again, and the next message gets its own answer."""
    if not hasattr(message, "mailqueue_id"):
        assert message.send() == 1
    following = letter("next@example.com")
    assert following.send() == 1
    for one in (message, following):
        assert [to["address"] for to in report.show(one.mailqueue_id)["recipients"]] == one.to


def check_all(sent: list[EmailMessage]) -> None:
    """Each message is there once, and as many connections can be had as before."""
    there = Counter(to for one in report.records(report.Filter()) for to in one.recipients)
    assert {there[message.to[0]] for message in sent} == {1}
    pool = open_journal()._client.connection_pool
    for connection in [pool.get_connection() for _ in range(CONNECTIONS)]:
        pool.release(connection)
    theirs = broker_of(producer_app(), 0.2, os.getpid())
    with ExitStack() as stack:
        producers = {stack.enter_context(theirs.producer()) for _ in range(broker._CONNECTIONS)}
    assert len(producers) == broker._CONNECTIONS


def interrupt(many: int, prepare: Callable[[], object]) -> None:
    """Interrupt a `send()` at as many points, one after the other."""
    sent = []
    for at in some(points(prepare), many):
        prepare()
        message, interruption = letter(f"{at}@example.com"), Interruption(at)
        came_out = interruption.during(message.send)
        caught = not interruption.where or interruption.where.startswith(CAUGHT)
        assert came_out or caught, f"swallowed: {interruption.where}"
        check_next(message)
        sent.append(message)
    check_all(sent)


def test_at_some_points(way):
    """The exception comes out, no connection is lost, no answer is taken for another one."""
    letter("first@example.com").send()
    interrupt(15, lambda: None)


def test_at_some_points_of_the_first_send(way):
    """As well where connections are being opened and greeted."""
    interrupt(4, forget_all)


@pytest.mark.long
def test_at_many_points(way):
    """As above, at nearly all points of a `send()`."""
    letter("first@example.com").send()
    interrupt(50 if way == "fsync" else 400, lambda: None)


@pytest.mark.long
def test_at_many_points_of_the_first_send(way):
    """As above, at many points of the first `send()`."""
    interrupt(20 if way == "fsync" else 100, forget_all)


def raise_outside(_number: int, _frame: FrameType | None) -> None:
    raise Outside


def linger() -> None:
    """Wait for an exception that comes after the call; Python drops it where a `__del__` runs."""
    until = time.monotonic() + 0.05
    while time.monotonic() < until:
        pass


def by_signal(call: Callable[[], object], wait: float) -> None:
    """Make the call; a signal's handler raises after a while, or when the call has ended."""
    before = signal.signal(signal.SIGALRM, raise_outside)
    try:
        signal.setitimer(signal.ITIMER_REAL, wait)
        call()
        linger()
    except Outside:
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def by_thread(call: Callable[[], object], wait: float) -> None:
    """Make the call; another thread raises in this one, or when the call has ended."""
    target, begun = threading.get_ident(), list[bool]()

    def strike() -> None:
        while not begun:  # and not while this thread is being started
            time.sleep(0)
        time.sleep(wait)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(target), ctypes.py_object(Outside)
        )

    striking = threading.Thread(target=strike)
    striking.start()
    try:
        begun.append(True)
        call()
        while striking.is_alive():
            time.sleep(0)
        linger()
    except Outside:
        striking.join()


@pytest.mark.long
@pytest.mark.parametrize("strike", [by_signal, by_thread])
def test_at_random_moments(strike, way):
    """As Celery, RQ and debuggers do it: several hundred times, at any moment."""
    chance, sent = random.Random(21), []
    letter("first@example.com").send()
    for number in range(50 if way == "fsync" else 300):
        message = letter(f"{number}@example.com")
        strike(message.send, chance.uniform(1e-5, 4e-3))
        check_next(message)
        sent.append(message)
    check_all(sent)
