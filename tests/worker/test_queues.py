"""Whose turn it is where a worker takes several queues."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from mailqueue.errors import JournalUnavailable
from mailqueue.worker.queues import Turn


@dataclass
class Waiting:
    """A journal as far as it is asked, and on whose clock the turns go."""

    queue: str = "news"
    now: float = 0.0
    waits: set[str] = field(default_factory=set)
    asked: int = 0
    is_away: bool = False

    def is_queued_in(self, queues: list[str]) -> bool:
        self.asked += 1
        if self.is_away:
            raise JournalUnavailable("away")
        return bool(self.waits & {*queues})


@pytest.fixture
def news() -> Waiting:
    return Waiting()


@pytest.fixture
def turn(news: Waiting) -> Turn:
    return Turn(lambda: news.now)


def test_a_queue_has_the_worker_for_a_while(news, turn):
    """What waits in another is not even asked for until then."""
    news.waits = {"codes"}
    gives_way = turn.begin(news, ["codes"])
    assert not gives_way()
    news.now = 0.199
    assert not gives_way()
    assert news.asked == 0
    news.now = 0.2
    assert gives_way()
    assert gives_way()
    assert news.asked == 1


def test_where_nothing_else_waits_it_goes_on(news, turn):
    """The journal is asked five times a second at most, and never by a worker of one queue."""
    gives_way = turn.begin(news, ["codes"])
    for moment in range(1000):
        news.now = moment / 1000
        assert not gives_way()
    assert news.asked == 4
    news.now, alone = 9.0, turn.begin(news, [])
    assert not alone()
    assert news.asked == 4


def test_tasks_of_one_queue_share_its_turn(news, turn):
    """A worker holds some of them already, and each ends as soon as it may."""
    news.waits = {"codes"}
    gives_way = turn.begin(news, ["codes"])
    news.now = 0.3
    assert gives_way()
    assert turn.begin(news, ["codes"])()
    codes = Waiting("codes", waits={"news"})
    assert not turn.begin(codes, ["news"])()
    assert not turn.begin(news, ["codes"])()


def test_a_journal_that_is_away_ends_no_turn(news, turn):
    """It shows when the next message is committed."""
    news.is_away, news.now = True, 1.0
    assert not turn.begin(news, ["codes"])()
