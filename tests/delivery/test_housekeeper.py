"""The thread of a worker process that does what can't wait."""

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from mailqueue.delivery import housekeeper as module
from mailqueue.delivery.housekeeper import Housekeeper
from tests.support import wait_until


@pytest.fixture
def housekeeper(monkeypatch) -> Iterator[Housekeeper]:
    monkeypatch.setattr(module, "_SECONDS_BETWEEN_ROUNDS", 0.001)
    found = Housekeeper()
    yield found
    found._stop.set()


@pytest.fixture
def done() -> Counter[str]:
    return Counter()


def rounds_end(done: Counter[str], count: int = 2) -> None:
    """So many rounds that begin from now on are over."""
    goal = done["each round"] + count + 1
    wait_until(lambda: done["each round"] >= goal, 30)


def test_a_duty_that_fails_ends_no_other(housekeeper, done):
    """Whatever one of them raises, all are called again in the next round."""

    def fails() -> None:
        done["failed"] += 1
        raise ZeroDivisionError

    housekeeper.add(fails)
    housekeeper.add(lambda: done.update(["each round"]))
    rounds_end(done)
    assert done["failed"] > 1


def test_a_duty_is_done_until_it_is_removed(housekeeper, done):
    """What a batch of messages has asked for ends with it."""

    def duty() -> None:
        done["duty"] += 1

    housekeeper.add(lambda: done.update(["each round"]))
    housekeeper.add(duty)
    wait_until(lambda: done["duty"], 30)
    housekeeper.remove(duty)
    rounds_end(done)
    before = done["duty"]
    rounds_end(done)
    assert done["duty"] == before


def test_a_process_that_was_forked_has_a_thread_of_its_own(housekeeper, done):
    """That of its parent isn't there, though the parent's duties are."""
    housekeeper.add(lambda: done.update(["each round"]))
    rounds_end(done)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        housekeeper.add(lambda: os.write(writer, b"x"))
        signal.pause()
    os.close(writer)
    try:
        os.set_blocking(reader, False)
        wait_until(lambda: _read(reader) == b"x", 30)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reader)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1)
    except BlockingIOError:
        return b""


def test_a_thread_that_the_machine_refuses_is_asked_for_again(housekeeper, done, monkeypatch):
    """The next duty has it started: without it nobody would prolong a lease in this process."""

    def refuses(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuses)
        with pytest.raises(RuntimeError, match="can't start"):
            housekeeper.add(lambda: None)
    housekeeper.add(lambda: done.update(["each round"]))
    rounds_end(done)
