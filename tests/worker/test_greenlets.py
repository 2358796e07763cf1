"""A main greenlet that waits for its broker for ever is interrupted, and only then."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from celery.bootsteps import CLOSE, RUN

from mailqueue.worker.greenlets import GreenWatchdog

# A main greenlet that reads in vain, and one beside it that has it begin anew.
WAITS = """
from gevent import monkey
monkey.patch_all()
import socket, threading
from mailqueue.worker.greenlets import GreenWatchdog
ours, theirs = socket.socketpair()
threading.Thread(target=lambda: GreenWatchdog(None).connect_anew()).start()
try:
    ours.recv(1)
except ConnectionResetError:
    print("connects anew")
theirs.send(b"x")
print(ours.recv(1))
"""


class Worker:
    """A worker's consumer as far as it is looked at, with a clock; ``goes_round`` at each look."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.goes_round = True
        self.interruptions = 0
        self.asked: list[Callable[[], None]] = []
        qos = SimpleNamespace(can_consume=lambda: True)
        self.channel: Any = SimpleNamespace(qos=qos, _in_poll=object(), _brpop_sent_at=0.0)
        self.consumer: Any = SimpleNamespace(
            connection=object(),
            pool=SimpleNamespace(limit=2),
            blueprint=SimpleNamespace(state=RUN),
            task_consumer=SimpleNamespace(channel=self.channel),
            call_soon=self.asked.append,
        )
        watchdog = GreenWatchdog(self.consumer, self.interrupt)
        for stall in watchdog._stalls:
            monkeypatch.setattr(stall, "_clock", lambda: self.now)
        self.check = watchdog.check

    def interrupt(self) -> None:
        self.interruptions += 1

    def live(self, seconds: int, *, answers: bool = True, stopping: bool = False) -> int:
        """Look each second; how often it was interrupted."""
        before = self.interruptions
        for _ in range(seconds):
            self.now += 1
            while self.goes_round and self.asked:
                self.asked.pop()()
            if answers:
                self.channel._brpop_sent_at = self.now
            self.check(stopping=stopping)
        return self.interruptions - before


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Worker:
    return Worker(monkeypatch)


def test_one_that_goes_round_and_gets_answers_is_left_alone(worker):
    """For as long as it likes."""
    assert worker.live(100) == 0


def test_one_that_does_not_go_round_is_interrupted(worker):
    """It waits for an answer without a time-out."""
    worker.goes_round = False
    assert worker.live(19) == 0
    assert worker.live(4) == 1


def test_one_whose_broker_owes_an_answer_is_interrupted(worker):
    """It goes round, and Redis says nothing about tasks."""
    assert worker.live(19, answers=False) == 0
    assert worker.live(4, answers=False) == 1


def test_an_answer_that_waits_for_room_is_not_overdue(worker, monkeypatch):
    """A worker that holds as many tasks as it may reads no further one."""
    monkeypatch.setattr("celery.worker.state.reserved_requests", {"a task", "another"})
    worker.channel.qos.can_consume = lambda: False
    assert worker.live(100, answers=False) == 0


def test_one_that_goes_round_slowly_is_left_alone_in_haste_too(worker):
    """After a loss less patience is due, but a round takes two seconds."""
    worker.goes_round = False
    assert worker.live(21) == 1
    for _ in range(20):
        worker.goes_round = False
        assert worker.live(3) == 0
        worker.goes_round = True
        assert worker.live(1) == 0


def test_one_that_waits_for_a_task_to_end_is_left_alone(worker, monkeypatch):
    """With as many in hand as the pool takes, the next one has to wait."""
    monkeypatch.setattr("celery.worker.state.active_requests", {"a task", "another"})
    worker.goes_round = False
    assert worker.live(100) == 0


def test_one_without_a_connection_is_left_alone(worker):
    """It tries to get one, at its own pace."""
    worker.consumer.connection = None
    worker.goes_round = False
    assert worker.live(100) == 0


def test_one_that_ends_finishes_what_is_in_hand(worker, monkeypatch):
    """It is interrupted after that."""
    worker.consumer.blueprint.state = CLOSE
    worker.goes_round = False
    with monkeypatch.context() as busy:
        busy.setattr("celery.worker.state.active_requests", {"a task"})
        assert worker.live(100, stopping=True) == 0
    assert worker.live(2, stopping=True) == 1


def test_whatever_the_main_greenlet_waits_for_is_interrupted():
    """And it may wait again."""
    done = subprocess.run([sys.executable, "-c", WAITS], capture_output=True, text=True, timeout=60)
    assert (done.stdout.splitlines(), done.stderr) == (["connects anew", "b'x'"], "")
