"""Staying awake for a moment, until there is something to read."""

from __future__ import annotations

import os
import resource
import select
import socket
from collections.abc import Iterator

import pytest

from mailqueue.store.spin import Wakefulness, is_readable


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    mine, theirs = socket.socketpair()
    with mine, theirs:
        yield mine, theirs


@pytest.fixture
def yields(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Each time when the processor was left to others."""
    found: list[int] = []
    monkeypatch.setattr(os, "sched_yield", lambda: found.append(len(found)))
    monkeypatch.setattr("mailqueue.store.spin._MOMENT", 0.02)
    return found


def test_what_comes_in_a_moment_is_waited_for_awake(ends, yields, monkeypatch):
    """The processor is left to others until then."""
    mine, theirs = ends
    monkeypatch.setattr("mailqueue.store.spin._MOMENT", 60)

    def answers_at_the_third() -> None:
        yields.append(1)
        if len(yields) == 3:
            theirs.send(b"x")

    monkeypatch.setattr(os, "sched_yield", answers_at_the_third)
    assert Wakefulness().wait(mine)
    assert len(yields) == 3
    assert mine.recv(1) == b"x"


def test_a_server_that_is_far_away_is_slept_for(ends, yields):
    """It is tried again now and then."""
    mine, _ = ends
    assert tries_of(Wakefulness(), mine, yields, 65) == [0, 2, 5, 10, 19, 36, 53]


def test_one_answer_that_comes_late_makes_no_server_one_that_is_far_away(ends, yields):
    """The next but one is waited for awake, and if that comes in time, so is the one after it."""
    mine, theirs = ends
    wakefulness = Wakefulness()
    assert tries_of(wakefulness, mine, yields, 10) == [0, 2, 5]
    theirs.send(b"x")
    assert [wakefulness.wait(mine) for _ in range(3)] == [True, True, True]
    mine.recv(1)
    assert tries_of(wakefulness, mine, yields, 6) == [0, 2, 5]


def tries_of(
    wakefulness: Wakefulness, connected: socket.socket, yields: list[int], count: int
) -> list[int]:
    """The waits that were awake, of so many where nothing came."""
    tries = []
    for number in range(count):
        before = len(yields)
        assert not wakefulness.wait(connected)
        if len(yields) > before:
            tries.append(number)
    return tries


def test_what_is_there_already_is_not_waited_for(ends, yields):
    """The first look finds it."""
    mine, theirs = ends
    theirs.send(b"x")
    assert Wakefulness().wait(mine)
    assert yields == []


def test_a_greenlet_keeps_no_others_waiting(ends, yields):
    """Sockets of gevent and the like let others run while they wait."""

    class Cooperative(socket.socket):
        """As gevent puts one in the place of Python's."""

    mine, _ = ends
    with Cooperative(fileno=os.dup(mine.fileno())) as cooperative:
        assert not Wakefulness().wait(cooperative)
    assert yields == []


@pytest.mark.parametrize("has_poll", [True, False])
def test_whether_there_is_something_to_read_is_known_without_poll_too(has_poll, ends, monkeypatch):
    """Eventlet takes ``select.poll`` away."""
    if not has_poll:
        monkeypatch.delattr(select, "poll")
    mine, theirs = ends
    assert not is_readable(mine)
    theirs.send(b"x")
    assert is_readable(mine, within=5)


def test_a_connection_of_any_number_can_be_looked_at(ends):
    """Of select() only those below 1,024 can, and a worker of many threads has more files open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    mine, theirs = ends
    try:
        os.dup2(mine.fileno(), 1500)
        with socket.socket(fileno=1500) as far:
            assert not is_readable(far)
            theirs.send(b"x")
            assert is_readable(far, within=5)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
