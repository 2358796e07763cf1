"""A task's messages, as a worker claims them: ahead of their turns, and no more than it may."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

import pytest

from mailqueue.batch import Batch, ClaimedMessage, Item
from mailqueue.errors import JournalUnavailable
from mailqueue.journal import Entry, Journal, Policy, State, connect
from tests.proxy import Proxy

POLICY = Policy(lease=30, grace=30, regrace=30, doubt=30, reply_wait=30, max_lost=3)
IDS = [f"m{n}" for n in range(30)]


@pytest.fixture
def journal(redis_url: str) -> Journal:
    """A journal with thirty messages that wait."""
    client = connect(redis_url, 2.0)
    client.flushall()
    journal = Journal(client, "q", POLICY)
    summary = {"subject": "", "from": "a@x", "to": ["b@x"]}
    journal.accept([Entry(id_, f"payload of {id_}", "digest", summary) for id_ in IDS])
    return journal


def batch_of(journal: Journal, ids: Sequence[str] = IDS, room: int = 0) -> Batch:
    return Batch(journal, map(Item, ids), lambda *_: [], lambda: False, room)


def rest_of(batch: Batch, first: ClaimedMessage | None = None) -> list[str]:
    found = [first] if first else []
    while message := batch.next():
        found.append(message)
    return [message.claim.id for message in found]


def lose(journal: Journal, id_: str) -> None:
    """Have a worker claim the message and vanish."""
    hasty = Journal(journal._client, "q", Policy(lease=0, regrace=0))
    assert len(hasty.claim([(id_, "")])[0]) == 1
    assert [due.id for due in hasty.release()] == [id_]


def test_each_message_comes_once_and_in_turn(journal):
    assert rest_of(batch_of(journal)) == IDS


def test_what_is_not_this_workers_to_send_is_passed_over(journal):
    journal.claim([(id_, "") for id_ in IDS[3:17]])
    journal.hold(IDS[20:])
    assert rest_of(batch_of(journal, [*IDS, "unknown"])) == IDS[:3] + IDS[17:20]


def test_no_more_than_ten_wait_for_those_before_them(journal):
    """A worker that dies leaves them to their leases."""
    batch = batch_of(journal)
    turns = 0
    while batch.next():
        turns += 1
        assert journal.counts()[State.SENDING] <= turns + 10
    assert turns == len(IDS)


def test_a_message_that_lost_its_worker_is_claimed_alone(journal):
    """Whatever comes after it waits until it has been sent: it may do so again."""
    lose(journal, IDS[5])
    batch = batch_of(journal)
    for turn, id_ in enumerate(IDS[:6]):
        message = batch.next()
        assert message is not None
        assert message.claim.id == id_
        assert message.claim.is_suspect == (turn == 5)
        assert journal.counts()[State.SENDING] <= 6
    assert rest_of(batch) == IDS[6:]


def test_a_message_comes_again_before_those_that_were_not_claimed_yet(journal):
    """Also where those were asked for already."""
    batch = batch_of(journal)
    for _ in range(8):
        message = batch.next()
        assert message is not None
    journal.give_back(message.claim)
    batch.again(message.claim)
    found = rest_of(batch)
    assert sorted(found) == sorted(IDS[7:])
    assert found.index(message.claim.id) < 15


def test_a_batch_that_ends_claims_nothing_more(journal):
    """It only reads what it has asked for."""
    summary = {"subject": "", "from": "a@x", "to": ["b@x"]}
    batch = batch_of(journal, IDS[:1], room=9)
    assert batch.next()  # and asks who has joined: nobody
    entries = [Entry(id_, f"payload of {id_}", "digest", summary) for id_ in ("named", "joined")]
    assert [journal.accept([e], room=9)[0].needs_task for e in entries] == [True, False]
    batch.close()
    assert batch.held.keys() == {IDS[0]}
    assert journal.counts()[State.SENDING] == 1


@pytest.mark.parametrize("turns", range(1, 12))
def test_a_journal_that_is_away_loses_nothing(turns, journal, monkeypatch):
    """What it could not be asked for is asked for again when it is back."""
    batch = batch_of(journal)
    for _ in range(turns):
        assert batch.next()
    with monkeypatch.context() as patched:
        patched.setattr(journal._script, "ask", _away)
        found = until_the_journal_is_away(batch)
    assert [*IDS[:turns], *found, *rest_of(batch)] == IDS


def test_an_answer_that_is_lost_leaves_its_messages_to_their_leases(journal, redis_url):
    """Nobody knows of them here, so nobody sends them."""
    with Proxy(int(urlsplit(redis_url).port or 0)) as proxy:
        behind = Journal(connect(f"redis://127.0.0.1:{proxy.port}", 0.3), "q", POLICY)
        batch = batch_of(behind)
        for _ in range(3):
            assert batch.next()
        proxy.hold_replies()
        assert until_the_journal_is_away(batch) == IDS[3:8]
        assert journal.counts()[State.SENDING] == 16
        assert batch.held.keys() == {*IDS[:8]}


def until_the_journal_is_away(batch: Batch) -> list[str]:
    found = []
    try:
        while message := batch.next():
            found.append(message.claim.id)
    except JournalUnavailable:
        return found
    raise AssertionError("the journal answered all")


def _away(*_: object) -> None:
    raise JournalUnavailable("the journal is away")
