"""Which connection a task gets, and what becomes of those that nobody has."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Barrier

import pytest

from mailqueue.delivery.pool import ConnectionPool


class Line:
    """A connection in name only."""

    def __init__(self) -> None:
        self.is_open = True
        self.seen: list[str] = []

    def close_if_idle(self) -> None:
        self.seen.append("looked at")

    def close(self) -> None:
        self.seen.append("closed")


@pytest.fixture
def lines() -> list[Line]:
    return []


@pytest.fixture
def pool(lines: list[Line]) -> ConnectionPool:
    def connect() -> Line:
        lines.append(Line())
        return lines[-1]

    return ConnectionPool(connect)


def test_one_after_the_other_they_have_the_same(pool, lines):
    """Whoever comes later, also after a failure."""
    with pytest.raises(ZeroDivisionError), pool.borrow() as first:
        raise ZeroDivisionError
    with pool.borrow() as second:
        assert second is first
    assert len(lines) == 1


def test_at_once_each_has_its_own(pool, lines):
    """As many as there are at once, however many there are."""
    together = Barrier(8)

    def borrow(_: int) -> Line:
        together.wait(30)
        with pool.borrow() as line:
            together.wait(30)
            return line

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(borrow, range(8)))) == len(lines) == 8
        assert len(set(threads.map(borrow, range(64)))) == len(lines) == 8


def borrowed(pool: ConnectionPool, count: int) -> list[Line]:
    """Those that so many get who come at once; given back in that order."""
    with ExitStack() as stack:
        return [stack.enter_context(pool.borrow()) for _ in range(count)]


def test_the_one_used_last_is_next(pool):
    """So that those beyond what is needed become idle, and are closed."""
    first, *_ = borrowed(pool, 3)  # the first is given back last
    assert borrowed(pool, 1) == [first]


def test_an_open_one_is_preferred(pool):
    """Another would only be opened beside it."""
    first, second, third = borrowed(pool, 3)
    with pool.borrow() as line:
        assert line is first
        line.is_open = False
    assert borrowed(pool, 3) == [second, third, first]


def test_all_are_looked_after_and_closed(pool, lines):
    """Also those that somebody has, which know whether they are idle."""
    with pool.borrow():
        borrowed(pool, 1)
        pool.close_idle()
    pool.close()
    assert [line.seen for line in lines] == [["looked at", "closed"]] * 2
