"""What health and status say of workers that are silent, and of messages that nobody looks at."""

from __future__ import annotations

import os
import time

import pytest

from mailqueue.monitor import health, report
from mailqueue.queue.journal import Journal, open_journal
from mailqueue.queue.spool import current_spool
from tests.contracts.delivering import letter, post
from tests.contracts.journals import entry


@pytest.fixture
def journal(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Journal:
    monkeypatch.setenv("MAILQUEUE_BROKER_URL", redis_url)
    return open_journal()


def move(journal: Journal, key: str, member: str, seconds: float) -> None:
    """Move a time in the journal back by ``seconds``."""
    client = journal._client
    now = client.time()
    at = (now[0] + now[1] / 1e6 - seconds) * 1000
    assert client.zadd(f"mailqueue:{{mailqueue}}:{key}", {member: at}, xx=True, ch=True) == 1


def workers() -> tuple[list[str], list[str]]:
    """Those that are listed, and those of them that are called silent."""
    (queue,) = report.status()["queues"]
    return queue["workers"], queue["silent"]


@pytest.mark.parametrize(
    ("seconds", "listed", "silent"), [(0, True, False), (5, True, True), (12, False, False)]
)
def test_a_worker_is_silent_at_first_and_forgotten_later(seconds, listed, silent, journal):
    """A worker that has ended is called silent after 3 seconds and forgotten after 10."""
    journal.beat("here:1")
    move(journal, "workers", "here:1", seconds)
    assert workers() == (["here:1"] * listed, ["here:1"] * silent)
    assert health.health()["ok"] == listed
    assert any("no worker" in problem for problem in health.health()["problems"]) != listed


@pytest.mark.parametrize(("seconds", "stands"), [(30, False), (62, True)])
def test_a_queue_stands_still_after_a_minute(seconds, stands, journal):
    """Health has a problem where a message could have been sent for more than 60 seconds."""
    post(journal, letter())
    move(journal, "state:queued", "m", seconds)
    journal.beat("here:1")
    assert health.health()["ok"] != stands
    assert ["1 messages" in problem for problem in health.health()["problems"]] == [True] * stands


@pytest.mark.parametrize(("seconds", "overdue"), [(30, False), (62, True)])
def test_what_the_spool_holds_is_overdue_after_a_minute(seconds, overdue, journal):
    """Health has a problem where a file was kept more than 60 seconds ago."""
    journal.beat("here:1")
    spool = current_spool()
    spool.keep_messages("mailqueue", [entry("m")], fsync=False)
    (file,) = spool.directory.glob("*.json")
    then = time.time() - seconds
    os.utime(file, (then, then))
    assert health.health()["ok"] != overdue
    found = ["mailqueue spool flush" in problem for problem in health.health()["problems"]]
    assert found == [True] * overdue
