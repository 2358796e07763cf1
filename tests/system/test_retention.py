"""How long the records of messages are kept that have ended."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mailqueue.delivery.gate.breaker import View
from mailqueue.queue.journal import Journal, Settlement, now_on, open_journal
from mailqueue.state import State
from mailqueue.worker.timer import Timer
from tests.contracts.delivering import command, ended, record

DAY = timedelta(days=1)
FINAL = [state for state in State if state.final]
CONTENT = {State.PARTIAL, State.FAILED, State.EXPIRED}  # of which the content is kept, too
MANY = 2001  # more than the journal changes or removes in two calls


@pytest.fixture
def journal(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Journal:
    monkeypatch.setenv("MAILQUEUE_BROKER_URL", redis_url)
    return open_journal()


def age(journal: Journal, state: State, by: timedelta) -> None:
    """Have all messages that are in that state be in it for so much longer."""
    key = f"mailqueue:{{{journal.queue}}}:state:{state}"
    for id_ in journal.ids(state):
        journal._client.zincrby(key, -by.total_seconds() * 1000, id_)


def timer_looks(journal: Journal) -> None:
    """What a worker's timer does in its first round, and then once a minute."""
    Timer(lambda: [journal], lambda: View(0, closed=True, reason="")).round()


@pytest.mark.parametrize("state", FINAL)
def test_a_record_is_kept_as_long_as_its_end_asks_for(journal, state):
    """A sent message's record is kept for KEEP_SENT, any other end's for KEEP_FAILED."""
    days = 7 if state is State.SENT else 90
    ended(journal, state, "m")
    age(journal, state, days * DAY - timedelta(minutes=5))
    timer_looks(journal)
    assert record(journal).state is state
    assert record(journal).has_payload == (state in CONTENT)
    age(journal, state, timedelta(minutes=10))
    timer_looks(journal)
    assert journal.read(["m"]) == []


@pytest.mark.parametrize(
    ("name", "removed"), [("MAILQUEUE_KEEP_SENT", {"s"}), ("MAILQUEUE_KEEP_FAILED", {"p", "f"})]
)
def test_a_record_is_kept_as_long_as_the_settings_say(journal, monkeypatch, name, removed):
    """KEEP_SENT speaks of the sent only, KEEP_FAILED of all others."""
    for state, id_ in {State.SENT: "s", State.PARTIAL: "p", State.FAILED: "f"}.items():
        ended(journal, state, id_)
        age(journal, state, timedelta(hours=2))
    monkeypatch.setenv(name, "1h")
    timer_looks(journal)
    assert {found.id for found in journal.read(["s", "p", "f"])} == {"s", "p", "f"} - removed


def test_a_timer_removes_thousands_at_once(journal):
    """A timer's round leaves no record that has been kept long enough."""
    ended(journal, State.SENT, *(f"m{n}" for n in range(MANY)))
    age(journal, State.SENT, 8 * DAY)
    timer_looks(journal)
    assert journal.counts()[State.SENT] == 0


def test_purge_removes_all_however_many(journal):
    """A purge goes on until nothing is left, and leaves what is in another state."""
    ended(journal, State.CANCELLED, *(f"m{n}" for n in range(MANY)))
    ended(journal, State.FAILED, "other")
    assert f"{MANY} cancelled" in command("purge", "--state", "cancelled", "--yes")
    assert journal.counts() == journal.counts() | {State.CANCELLED: 0, State.FAILED: 1}
    assert not list(journal._client.scan_iter("*:message:m*"))


def test_purge_counts_from_when_a_message_entered_its_state(journal):
    """An old message that failed just now is not older than a day for `purge`."""
    ended(journal, State.FAILED, "m", "n")
    created = {"created": int((now_on(journal._client) - 2 * DAY).timestamp() * 1000)}
    for id_ in ("m", "n"):
        journal._client.hset(f"mailqueue:{{mailqueue}}:message:{id_}", mapping=created)
    age(journal, State.FAILED, 2 * DAY)
    journal.retry(["m"])
    journal.settle(journal.claim([("m", "")])[0][0], Settlement(State.FAILED, "550 no"))
    assert "1 failed" in command("purge", "--state", "failed", "--older-than", "1d")
    assert [found.id for found in journal.read(["m", "n"])] == ["m"]
