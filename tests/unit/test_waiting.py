"""Staying awake for a moment, until there is something to read."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from mailqueue.waiting import Wakefulness


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
    monkeypatch.setattr("mailqueue.waiting._MOMENT", 0.02)
    return found


def test_what_comes_in_a_moment_is_waited_for_awake(ends, yields, monkeypatch):
    mine, theirs = ends
    monkeypatch.setattr("mailqueue.waiting._MOMENT", 60)

    def answers_at_the_third() -> None:
        yields.append(1)
        if len(yields) == 3:
            theirs.send(b"x")

    monkeypatch.setattr(os, "sched_yield", answers_at_the_third)
    Wakefulness().wait(mine)
    assert len(yields) == 3
    assert mine.recv(1) == b"x"


def test_a_server_that_is_far_away_is_slept_for(ends, yields):
    """It is tried again after a while."""
    mine, _ = ends
    wakefulness = Wakefulness()
    tried = []
    for _ in range(20):
        before = len(yields)
        wakefulness.wait(mine)
        tried.append(len(yields) > before)
    assert tried == [True, *[False] * 16, True, False, False]


def test_what_is_there_already_is_not_waited_for(ends, yields):
    mine, theirs = ends
    theirs.send(b"x")
    Wakefulness().wait(mine)
    assert yields == []


def test_a_greenlet_keeps_no_others_waiting(ends, yields):
    """Sockets of gevent and the like let others run while they wait."""

    class Cooperative(socket.socket):
        """As gevent puts one in the place of Python's."""

    mine, _ = ends
    with Cooperative(fileno=os.dup(mine.fileno())) as cooperative:
        Wakefulness().wait(cooperative)
    assert yields == []
