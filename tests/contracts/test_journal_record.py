"""What the journal keeps of a message and shows of it: times, tries, lists, payloads."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mailqueue.queue.journal import Result, Settlement
from mailqueue.state import State
from tests.contracts.journals import SENT, accepted, claimed, entry, hasty, ids_of, state

ENDS = [State.SENT, State.PARTIAL, State.FAILED, State.CANCELLED, State.EXPIRED]
LATER = Settlement(State.RETRYING, "451 later", {}, delay=30)
FAILED = Settlement(State.FAILED, "550 no")


def ended(journal, clock, id_: str, end: State) -> None:
    """Lead a new message to that end."""
    expires = clock.after(0) if end is State.EXPIRED else None
    journal.accept([entry(id_, blobs={"abc": "content"}, expires_at=expires)])
    if end is State.EXPIRED:
        assert journal.claim([(id_, "")]) == ([], 1)
    elif end is State.CANCELLED:
        journal.cancel([id_])
    else:
        assert journal.settle(claimed(journal, id_), Settlement(end, "a reply"))
    assert state(journal, id_) is end


@pytest.mark.parametrize("end", ENDS)
def test_each_end_is_counted_and_trimmed_by_its_age(journal, client, clock, end):
    """A final state is reached once, and its record goes with all that belongs to it."""
    ended(journal, clock, "m", end)
    assert journal.totals() == {"accepted": 1, end: 1}
    clock.advance(60)
    ended(journal, clock, "n", end)
    assert journal.trim(end, 61) == 0
    assert journal.trim(end, 60) == 1
    assert [record.id for record in journal.read(["m", "n"])] == ["n"]
    assert list(journal.ids(end)) == ["n"]
    assert journal.trim(end, 0) == 1
    assert list(client.scan_iter("mailqueue:{q}:blob*")) == []
    assert list(client.scan_iter("mailqueue:{q}:message:*")) == []


@pytest.mark.parametrize("end", ENDS)
def test_nobody_looks_at_a_message_that_has_ended(journal, clock, end):
    """A final state has no due time, and isn't overdue."""
    ended(journal, clock, "m", end)
    clock.advance(86_400)
    assert journal.pulse().waiting == 0
    assert journal.read(["m"])[0].due is None


@pytest.mark.parametrize("end", ENDS)
def test_only_what_can_be_sent_again_keeps_its_payload(journal, client, clock, end):
    """A payload takes no room on the server after a message was sent or cancelled."""
    ended(journal, clock, "m", end)
    kept = "" if end in {State.SENT, State.CANCELLED} else "payload of m"
    assert client.hget("mailqueue:{q}:message:m", "payload") == kept
    assert client.exists("mailqueue:{q}:blob:abc") == bool(kept)


def test_an_ordinary_sent_message_gives_up_its_payload(journal, client):
    """What has no attachments and needed one try takes no room on the server after it was sent."""
    accepted(journal, "m")
    assert journal.settle(claimed(journal, "m"), SENT)
    assert client.hget("mailqueue:{q}:message:m", "payload") == ""


def test_a_record_shows_when_it_entered_its_state(journal, clock):
    """Each change of state has its own time, and that of the first stays beside it."""
    began = clock.after(0)
    accepted(journal, "m", "n")
    claims = []
    for change in (
        lambda: claims.append(claimed(journal, "m")),
        lambda: journal.commit(claims[0]),
        lambda: claims.append(claimed(journal, "n")),
        lambda: journal.settle(claims[0], SENT),
        lambda: journal.settle(claims[1], FAILED),
    ):
        clock.advance(1)
        change()
        newest = max(journal.read(["m", "n"]), key=lambda record: record.updated)
        assert (newest.created, newest.updated) == (began, clock.after(0))


def test_messages_are_listed_by_when_they_entered_their_state(journal, clock):
    """The newest comes last, whatever its id, in each state that a list is asked for."""
    later = clock.after(3600)
    for id_ in ("c", "b", "a"):
        clock.advance(1)
        journal.accept([entry(id_), entry(f"s{id_}", send_at=later)])
    assert list(journal.ids(State.QUEUED)) == ["c", "b", "a"]
    assert list(journal.ids(State.SCHEDULED, newest_first=True)) == ["sa", "sb", "sc"]
    for id_, end in (("b", SENT), ("c", FAILED), ("a", FAILED)):
        clock.advance(1)
        journal.settle(claimed(journal, id_), end)
    assert list(journal.ids(State.FAILED)) == ["c", "a"]
    for id_ in ("sb", "sc", "sa"):
        clock.advance(1)
        journal.hold([id_])
    assert list(journal.ids(State.HELD)) == ["sb", "sc", "sa"]


def test_what_is_in_hand_leaves_no_trace_in_its_set(journal, client):
    """A committed message that ends otherwise than sent is in the set of its end only."""
    accepted(journal, "m")
    claim = claimed(journal, "m")
    journal.commit(claim)
    journal.settle(claim, FAILED)
    assert client.keys("mailqueue:{q}:state:*") == ["mailqueue:{q}:state:failed"]


def test_what_was_retrying_is_counted_once_it_is_claimed(journal, clock):
    """A message that is due and claimed is sending, and not retrying as well."""
    accepted(journal, "m")
    journal.settle(claimed(journal, "m"), LATER)
    clock.advance(30)
    claimed(journal, "m")
    assert {state: n for state, n in journal.counts().items() if n} == {State.SENDING: 1}
    assert list(journal.ids(State.RETRYING)) == []


def test_a_message_in_its_grace_is_not_due(journal, clock):
    """A queued message is due at the end of its grace, a claimed one at that of its lease."""
    accepted(journal, "m", "n")
    claimed(journal, "n")
    clock.advance(29.999)
    assert journal.release() == []
    clock.advance(0.001)
    assert sorted(ids_of(journal.release())) == ["m", "n"]


def test_a_claim_knows_the_age_of_its_message(journal, clock):
    """The age begins with accepting, and anew with an operator's retry."""
    accepted(journal, "m")
    clock.advance(100)
    claim = claimed(journal, "m")
    assert claim.age == 100
    journal.settle(claim, FAILED)
    clock.advance(50)
    assert journal.retry(["m"]) == ["m"]
    clock.advance(7)
    assert claimed(journal, "m").age == 7


def test_the_history_has_a_line_for_each_attempt(journal, clock):
    """What each attempt came to is shown in order, with its time, up to the one that sent."""
    accepted(journal, "m")
    for end in (LATER, LATER, SENT):
        clock.advance(30)
        assert journal.settle(claimed(journal, "m"), end)
    history = journal.read(["m"])[0].history
    assert [(line.number, line.state) for line in history] == [
        (1, State.RETRYING),
        (2, State.RETRYING),
        (3, State.SENT),
    ]
    assert [line.at for line in history] == [clock.after(-60), clock.after(-30), clock.after(0)]


def test_each_claim_has_a_token_above_all_before(journal):
    """Tokens rise from claim to claim, within a call and from one to the next."""
    accepted(journal, "a", "b", "c", "d", "e")
    claims = [*journal.claim([("a", ""), ("b", "")])[0], claimed(journal, "c")]
    claims += journal.claim([("d", ""), ("e", "")])[0]
    tokens = [int(claim.token) for claim in claims]
    assert tokens == sorted(set(tokens))
    assert len(tokens) == 5


def test_a_next_transaction_belongs_to_the_same_try(journal):
    """What a server had too many recipients for costs the schedule nothing."""
    accepted(journal, "m")
    served = {"b@x": Result(State.SENT, "250 ok")}
    rest = Settlement(State.QUEUED, "452 too many", served, delay=0)
    for attempt in (1, 2, 3):
        claim = claimed(journal, "m")
        assert (claim.attempt, claim.tries) == (attempt, 1)
        assert journal.settle(claim, rest)
    assert journal.results_of(claimed(journal, "m")) == served


def replies(journal) -> dict[str, str]:
    """The newest replies to those who wait, of the message m."""
    return dict(journal.read(["m"])[0].replies)


def test_who_waits_because_a_mailer_is_in_trouble_is_told_so(journal, clock):
    """A claim that was given back is no attempt, and its reason is newer than the last one's."""
    accepted(journal, "m")
    assert replies(journal) == {}
    journal.give_back(claimed(journal, "m"), 0, "535 no login")
    assert replies(journal) == dict.fromkeys(["b@x", "c@x"], "535 no login")
    told = {"b@x": "451 busy", "c@x": "451 full"}
    journal.settle(claimed(journal, "m"), replace(LATER, replies=told))
    assert replies(journal) == told
    clock.advance(30)
    journal.give_back(claimed(journal, "m"), 0, "421 going down")
    assert replies(journal) == dict.fromkeys(["b@x", "c@x"], "421 going down")


def test_who_waits_in_doubt_is_told_why(journal):
    """Be it that nobody read the reply, or that the worker has vanished; who has it is not told."""
    accepted(journal, "m")
    served = {"b@x": Result(State.SENT, "250 ok")}
    doubt = Settlement(State.UNCERTAIN, "nobody read on", served, delay=30)
    journal.settle(claimed(journal, "m"), doubt)
    assert replies(journal) == {"c@x": "nobody read on"}
    journal.retry(["m"])
    hasty(journal).claim([("m", "")])
    journal.release()
    assert replies(journal) == {"c@x": "the worker vanished while sending"}


def test_an_expired_message_says_why(journal, clock):
    """The reason is shown as its reply."""
    ended(journal, clock, "m", State.EXPIRED)
    assert journal.read(["m"])[0].reply == "expired before it could be sent"


def test_a_retry_that_is_in_time_still_expires(journal, clock):
    """A message that an operator has tried again early keeps the time when it is too late."""
    journal.accept([entry("m", expires_at=clock.after(60))])
    journal.settle(claimed(journal, "m"), FAILED)
    assert journal.retry(["m"]) == ["m"]
    clock.advance(60)
    assert journal.claim([("m", "")]) == ([], 1)
    assert state(journal, "m") is State.EXPIRED


def test_what_waits_longer_than_it_may_is_looked_at_in_time(journal, clock):
    """A retry that would come after a message has expired is due at that time."""
    expires = clock.after(10)
    journal.accept([entry("m", expires_at=expires), entry("n", expires_at=clock.after(90))])
    journal.settle(claimed(journal, "m"), LATER)
    journal.settle(claimed(journal, "n"), LATER)
    m, n = journal.read(["m", "n"])
    assert (m.due, n.due) == (expires, clock.after(30))
    clock.advance(10)
    assert journal.release() == []
    assert (state(journal, "m"), state(journal, "n")) == (State.EXPIRED, State.RETRYING)


def test_a_message_to_be_sent_now_is_not_scheduled(journal, clock):
    """A time to send that has come makes no difference, and a task is published."""
    assert journal.accept([entry("m", send_at=clock.after(0))]) == [("m", True)]
    assert state(journal, "m") is State.QUEUED


def test_a_scheduled_message_takes_no_room_of_a_task(journal, clock):
    """What is scheduled neither joins a task nor is named by one, also beside what is not."""
    at = clock.after(3600)
    together = [entry("m"), entry("s", send_at=at)]
    assert journal.accept(together, room=1) == [("m", True), ("s", False)]
    assert journal.accept([entry("t", send_at=at)], room=1) == [("t", False)]
    assert journal.accept([entry("n")], room=1) == [("n", False)]
    assert ids_of(journal.take(9)[0]) == ["m", "n"]


def test_what_is_named_by_its_task_joins_none(journal):
    """A message that was accepted without room is not taken along."""
    journal.accept([entry("m")])
    assert journal.take(9) == ([], 0)
    assert hasty(journal).claim([("m", "")])[1] == 1
