"""A task's messages, as a worker claims them: ahead of their turns, and no more than it may."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from urllib.parse import urlsplit

import pytest

from mailqueue.delivery.batch import Batch, ClaimedMessage, Item
from mailqueue.errors import JournalUnavailable
from mailqueue.queue.journal import Entry, Journal, Policy
from mailqueue.state import State
from mailqueue.store.client import connect
from tests.proxy import Proxy

POLICY = Policy(lease=30, grace=30, regrace=30, doubt=30, reply_wait=30, max_lost=3)
IDS = [f"m{n}" for n in range(30)]


@pytest.fixture
def journal(redis_url: str) -> Journal:
    """A journal with thirty messages that wait."""
    client = connect(redis_url, 2.0)
    client.flushall()
    journal = Journal(client, "q", POLICY)
    journal.accept([new(id_) for id_ in IDS])
    return journal


def new(id_: str) -> Entry:
    summary = {"subject": "", "from": "a@x", "to": ["b@x"]}
    return Entry(id_, f"payload of {id_}", "digest", summary)


def batch_of(journal: Journal, ids: Sequence[str] = IDS, room: int = 0) -> Batch:
    return Batch(journal, map(Item, ids), lambda *_: [], lambda: False, room)


def turns(batch: Batch) -> Iterator[ClaimedMessage]:
    """The messages as a worker takes them: it asks for more, and soon after reads the answer."""
    message = batch.next()
    while message is not None:
        message.look_further()
        yield message
        message.collect()
        message = message.following or batch.late()


def names_of(messages: Iterable[ClaimedMessage]) -> list[str]:
    return [message.claim.id for message in messages]


def lose(journal: Journal, id_: str) -> None:
    """Have a worker claim the message and vanish."""
    hasty = Journal(journal._client, "q", Policy(lease=0, regrace=0))
    assert len(hasty.claim([(id_, "")])[0]) == 1
    assert [due.id for due in hasty.release()] == [id_]


@pytest.mark.parametrize("looks_further", [False, True])
def test_each_message_comes_once_and_in_turn(looks_further, journal):
    """Whether it was asked for ahead or when it was needed."""
    batch = batch_of(journal)
    found = names_of(turns(batch)) if looks_further else names_of(iter(batch.next, None))
    assert found == IDS


def test_what_is_not_this_workers_to_send_is_passed_over(journal):
    """Claimed by another, held, unknown."""
    journal.claim([(id_, "") for id_ in IDS[3:17]])
    journal.hold(IDS[20:])
    assert names_of(turns(batch_of(journal, [*IDS, "unknown"]))) == IDS[:3] + IDS[17:20]


def test_no_more_than_ten_wait_for_those_before_them(journal):
    """A worker that dies leaves them to their leases."""
    for turn, _ in enumerate(turns(batch_of(journal)), 1):
        assert journal.counts()[State.SENDING] <= turn + 10


def test_more_are_claimed_before_they_are_needed(journal):
    """The answer is there by then, and the leases of all of them are prolonged."""
    batch = batch_of(journal)
    *_, sixth = islice(turns(batch), 6)
    assert batch.claims.keys() == {*IDS[:8]}
    sixth.collect()
    assert batch.claims.keys() == {*IDS[:16]}


def test_a_message_that_lost_its_worker_is_claimed_alone(journal):
    """Whatever comes after it waits until it has been sent: it may do so again."""
    lose(journal, IDS[5])
    batch = batch_of(journal)
    found = []
    for turn, message in enumerate(turns(batch)):
        found.append(message.claim.id)
        assert message.claim.is_suspect == (turn == 5)
        if turn <= 5:
            assert journal.counts()[State.SENDING] <= 6
    assert found == IDS


def test_who_has_looked_at_a_message_that_lost_its_worker_asks_for_no_more(journal):
    """It may go down with that, and would take along what it has claimed besides."""
    lose(journal, IDS[2])
    batch = batch_of(journal)
    *_, before = islice(turns(batch), 2)
    assert before.ahead() is None
    assert before.following.claim.is_suspect
    before.look_further()
    before.collect()
    assert batch.claims.keys() == {*IDS[:3]}


def test_a_message_comes_again_before_those_that_were_not_claimed_yet(journal):
    """Also where those were asked for already."""
    batch = batch_of(journal)
    messages = turns(batch)
    for _ in range(7):
        message = next(messages)
    journal.give_back(message.claim)
    batch.again(message.claim)
    found = names_of(messages)
    assert sorted(found) == sorted(IDS[6:])
    assert found.index(message.claim.id) < 15


def test_a_worker_that_is_to_stop_asks_for_no_more(journal):
    """It would only give them back."""
    batch = Batch(journal, map(Item, IDS), lambda *_: [], lambda: journal.counts()["sending"] > 0)
    assert len(names_of(islice(turns(batch), 8))) == 8
    assert journal.counts()[State.SENDING] == 8


def test_a_task_that_takes_too_long_leaves_the_rest_to_another(journal, monkeypatch):
    """It begins something, however long that took, and finishes what it has claimed."""
    monkeypatch.setattr("mailqueue.delivery.batch._LASTS", 0)
    batch = batch_of(journal, room=9)
    assert names_of(turns(batch)) == IDS[:8]
    assert batch.rest == IDS[8:]
    assert journal.put_back(batch.rest) == 22
    assert sorted(due.id for due in journal.release()) == sorted(IDS[8:])


def test_a_task_that_takes_too_long_takes_no_more_of_those_that_joined(journal, monkeypatch):
    """One limit holds for all that it claims."""
    monkeypatch.setattr("mailqueue.delivery.batch._LASTS", 0)
    journal.accept([new(f"joined{n}") for n in range(10)], room=20)
    batch = batch_of(journal, ["m0"], room=20)
    assert names_of(turns(batch)) == ["m0", *(f"joined{n}" for n in range(8))]
    assert [claim.id for claim in journal.take(9)[0]] == ["joined8", "joined9"]


def test_a_task_ends_however_often_it_asks(journal, monkeypatch):
    """Its time begins with its first claim, and each one after that takes some of it."""
    now = [1000.0]
    monkeypatch.setattr("mailqueue.delivery.batch.time.monotonic", lambda: now[0])
    batch = batch_of(journal)
    found = []
    for message in turns(batch):
        found.append(message.claim.id)
        now[0] += 0.6
    assert len(found) < 30
    assert batch.rest == IDS[len(found) :]


def test_a_task_that_nobody_joined_leaves_those_that_come_to_their_own_task(journal):
    """It has looked once; else it would go on with others' as long as some come."""
    batch = batch_of(journal, ["m0"], room=20)
    messages = turns(batch)
    assert next(messages).claim.id == "m0"
    batch.collect()
    assert batch.next() is None
    assert journal.accept([new("late")], room=20)[0].needs_task
    assert batch.next() is None
    assert journal.counts()[State.SENDING] == 1


def test_a_task_that_comes_to_its_end_leaves_no_rest(journal):
    """Nor does what others have claimed meanwhile."""
    journal.claim([(IDS[-1], "")])
    batch = batch_of(journal)
    assert names_of(turns(batch)) == IDS[:-1]
    assert batch.rest == []


def test_a_task_without_room_is_joined_by_nobody_once_it_has_begun(journal):
    """It names as many as it may deliver, and says what is left for others."""
    assert journal.accept([new("named"), new("too")], room=9)[0].needs_task
    assert journal.accept([new("joined")], room=9) == [("joined", False)]
    batch = batch_of(journal, ["named", "too"])
    assert names_of(turns(batch)) == ["named", "too"]
    assert batch.left == 3  # with its own two: only who takes them sees that they are on their way
    assert journal.accept([new("late")], room=9) == [("late", True)]


class Clock:
    """A time that passes in naps only; ``each_nap`` is what happens in one."""

    def __init__(self) -> None:
        self.now = 1.0
        self.naps = 0
        self.each_nap: Callable[[], object] = lambda: None

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.naps += 1
        self.each_nap()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("mailqueue.delivery.batch.time", clock)
    return clock


def sent(journal: Journal, ids: Iterable[str]) -> None:
    """As by one `send()` after the other, which join a task if one waits."""
    for id_ in ids:
        journal.accept([new(id_)], room=99)


def test_a_task_that_messages_have_joined_waits_a_moment_for_more(journal, clock):
    """Each of them would need a task otherwise."""
    sent(journal, ["named", "joined"])
    late = ["late", "later"]
    clock.each_nap = lambda: sent(journal, [late.pop(0)] if late else [])
    assert names_of(turns(batch_of(journal, ["named"], 99))) == ["named", "joined", "late", "later"]
    assert 2 + 2 <= clock.naps <= 2 + 4


def test_a_task_waits_for_more_until_it_is_old(journal, clock):
    """Other queues' mail may wait for the same worker."""
    sent(journal, ["named", "joined"])
    clock.each_nap = lambda: sent(journal, [f"late{clock.naps}"])
    found = names_of(turns(batch_of(journal, ["named"], 99)))
    assert found[:4] == ["named", "joined", "late1", "late2"]
    assert len(found) == 2 + clock.naps
    assert 1.05 <= clock.now <= 1.052


@pytest.mark.parametrize(
    "reason", ["nobody has joined", "it names several", "no room", "it is to stop"]
)
def test_a_task_waits_for_no_more(reason, journal, clock):
    """Where none will come to it, or where there is no end of such tasks."""
    sent(journal, ["named"] if reason == "nobody has joined" else ["named", "joined"])
    items = ["named", "also"] if reason == "it names several" else ["named"]
    batch = batch_of(journal, items, 1 if reason == "no room" else 99)
    found = []
    for message in turns(batch):
        found.append(message.claim.id)
        if reason == "it is to stop" and len(found) == 2:
            batch.stopping = lambda: True
    assert found == (["named"] if reason == "nobody has joined" else ["named", "joined"])
    assert clock.naps == 0


def test_a_task_whose_journal_had_no_more_asks_a_little_later(journal, clock):
    """By then several have come, which cost no more than one; at its end it asks at once."""
    sent(journal, ["named", "second", "third"])
    batch = batch_of(journal, ["named"], 99)
    *_, third = islice(turns(batch), 3)
    sent(journal, ["fourth"])
    third.look_further()
    third.collect()
    assert batch.claims.keys() == {"named", "second", "third"}
    clock.now += 0.003
    third.look_further()
    third.collect()
    assert batch.claims.keys() == {"named", "second", "third", "fourth"}


def test_a_task_whose_journal_had_more_asks_on(journal, clock):
    """Without a pause, as soon as few are left."""
    sent(journal, ["named", *(f"joined{n}" for n in range(20))])
    batch = batch_of(journal, ["named"], 99)
    *_, last = islice(turns(batch), 8)
    last.collect()
    assert len(batch.claims) == 1 + 2 * 8


@pytest.mark.parametrize("turn", range(1, 12))
def test_a_journal_that_is_away_loses_nothing(turn, journal, monkeypatch):
    """What it could not be asked for is asked for again when it is back."""
    batch = batch_of(journal)
    before = names_of(islice(turns(batch), turn))
    with monkeypatch.context() as patched:
        patched.setattr(journal._script, "ask", _away)
        between = until_the_journal_is_away(batch)
    assert [*before, *between, *names_of(turns(batch))] == IDS


def test_an_answer_that_is_lost_leaves_its_messages_to_their_leases(journal, redis_url):
    """Nobody knows of them here, so nobody sends them."""
    with Proxy(int(urlsplit(redis_url).port or 0)) as proxy:
        behind = Journal(connect(f"redis://127.0.0.1:{proxy.port}", 0.3), "q", POLICY)
        batch = batch_of(behind)
        before = names_of(islice(turns(batch), 3))
        proxy.hold_replies()
        assert before + until_the_journal_is_away(batch) == IDS[:8]
        assert journal.counts()[State.SENDING] == 16
        assert batch.claims.keys() == {*IDS[:8]}


def until_the_journal_is_away(batch: Batch) -> list[str]:
    found = []
    try:
        for message in turns(batch):
            found.append(message.claim.id)
    except JournalUnavailable:
        return found
    raise AssertionError("the journal answered all")


def _away(*_: object) -> None:
    raise JournalUnavailable("the journal is away")
