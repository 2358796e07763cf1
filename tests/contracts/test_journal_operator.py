"""What an operator does to messages, and sees of them."""

from __future__ import annotations

import pytest

from mailqueue.queue.journal import Journal, Pulse, Result, Settlement
from mailqueue.state import State
from tests.contracts.journals import (
    SENT,
    Clock,
    accepted,
    claimed,
    entry,
    hasty,
    ids_of,
    state,
    stored,
)

RETRIABLE = {State.FAILED, State.PARTIAL, State.UNCERTAIN, State.RETRYING, State.EXPIRED}


def test_retry_tries_those_refused_and_spares_those_served(journal):
    """An operator's retry begins the schedule anew and keeps the results of who got the message."""
    accepted(journal, "m")
    served, refused = Result(State.SENT, "250 ok"), Result(State.FAILED, "550 no")
    results = {"b@x": served, "c@x": refused}
    journal.settle(claimed(journal, "m"), Settlement(State.PARTIAL, "550 no", results))
    assert journal.retry(["m", "unknown"]) == ["m"]
    claim = claimed(journal, "m")
    assert (claim.attempt, claim.tries) == (2, 1)
    assert journal.results_of(claim) == {"b@x": served}


def test_retry_leaves_sent_messages_alone(journal):
    """Nothing is sent twice by our doing."""
    accepted(journal, "m")
    journal.settle(claimed(journal, "m"), SENT)
    assert journal.retry(["m"]) == []


def test_retry_hurries_what_waits_for_its_next_try(journal, clock):
    """A deferred message is queued at once; its task has the grace to come."""
    in_state(journal, clock, State.RETRYING)
    assert journal.retry(["m"]) == ["m"]
    (record,) = journal.read(["m"])
    assert (record.state, record.due) == (State.QUEUED, clock.after(30))
    assert claimed(journal, "m").tries == 1


@pytest.mark.parametrize("before", [s for s in State if s not in RETRIABLE])
def test_retry_changes_nothing_else(journal, clock, before):
    """A message that waits anyway, is held, in hand, sent or cancelled stays as it is."""
    in_state(journal, clock, before)
    records = journal.read(["m"])
    assert journal.retry(["m"]) == []
    assert journal.read(["m"]) == records


def test_what_has_lost_its_payload_is_not_tried_again(journal, client, clock):
    """A record without one stays as it is: nothing could be sent."""
    in_state(journal, clock, State.FAILED)
    client.hdel("mailqueue:{q}:message:m", "payload")
    assert journal.retry(["m"]) == []
    assert state(journal, "m") is State.FAILED


def test_a_call_trims_no_more_than_its_limit(journal, clock):
    """The oldest records go first, and the rest with the next call."""
    for id_ in ("c", "b", "a"):
        in_state(journal, clock, State.FAILED, id_)
        clock.advance(1)
    assert journal.trim(State.FAILED, 0, limit=2) == 2
    assert list(journal.ids(State.FAILED)) == ["a"]
    assert journal.trim(State.FAILED, 0, limit=2) == 1


def test_old_final_records_are_trimmed_and_others_are_not(journal, clock):
    """Retention removes what has ended; the totals stay."""
    accepted(journal, "m", "n", "o")
    journal.settle(claimed(journal, "m"), SENT)
    journal.settle(claimed(journal, "n"), Settlement(State.FAILED, "550 no"))
    clock.advance(3599)
    assert journal.trim(State.SENT, 3600) == 0
    clock.advance(1)
    assert journal.trim(State.SENT, 3600) == 1
    assert journal.trim(State.QUEUED, 0) == 0
    assert [record.id for record in journal.read(["m", "n", "o"])] == ["n", "o"]
    assert journal.counts()[State.SENT] == 0
    assert journal.totals() == {"accepted": 3, "sent": 1, "failed": 1}


def test_the_pulse_tells_which_workers_live_and_what_they_say(journal, clock):
    """Its beat's age, queues and mailers; of an earlier version's, neither is known."""
    assert journal.pulse() == Pulse([])
    journal.beat("worker 1")
    clock.advance(3)
    journal.beat("worker 2", ["q", "other"], ["smtp"])
    old, new = journal.pulse(alive_within=10).beats
    assert old == ("worker 1", 3, None, None)
    assert new == ("worker 2", 0, ("q", "other"), ("smtp",))
    assert [old.takes("q"), new.takes("q"), new.takes("third")] == [True, True, False]
    clock.advance(7.001)
    assert journal.pulse(alive_within=10).beats == [("worker 2", 7.001, *new[2:])]


def test_a_beat_of_a_time_to_come_is_no_sign_of_life(journal, clock):
    """It is from before the server's clock was put back by an hour."""
    journal.beat("worker 1")
    clock.advance(-3600)
    assert journal.pulse(alive_within=10).beats == []


def test_the_pulse_tells_for_how_long_the_oldest_could_have_been_sent(journal, clock):
    """Publishing it again and again changes nothing of that, since it was queued first."""
    other = hasty(journal)
    other.accept([entry("m"), entry("later", send_at=clock.after(1000))])
    for _ in range(3):
        clock.advance(30)
        assert ids_of(other.release()) == ["m"]
        assert other.put_back(["m"]) == 1
    pulse = journal.pulse()
    assert (pulse.waiting, pulse.oldest, pulse.claimed, pulse.settled) == (1, 90, None, None)


@pytest.mark.parametrize("way", ["scheduled", "retrying"])
def test_what_no_timer_has_queued_could_have_been_sent_all_the_same(way, journal, clock):
    """Since it is due: where all timers have ended, it stays in its state."""
    if way == "scheduled":
        journal.accept([entry("m", send_at=clock.after(10))])
    else:
        accepted(journal, "m")
        journal.settle(claimed(journal, "m"), Settlement(State.RETRYING, "451", delay=10))
    assert (journal.pulse().waiting, journal.pulse().oldest) == (0, None)
    clock.advance(75)
    assert (journal.pulse().waiting, journal.pulse().oldest) == (1, 65)


def test_what_is_held_could_not_have_been_sent(journal, clock):
    """It waits for a person."""
    accepted(journal, "m")
    journal.hold(["m"])
    clock.advance(100)
    assert (journal.pulse().waiting, journal.pulse().oldest) == (0, None)


def test_the_pulse_tells_of_claims_and_results(journal, clock):
    """How long ago the last ones were, and for how long something has been in hand."""
    accepted(journal, "m", "n")
    clock.advance(5)
    first = claimed(journal, "m")
    clock.advance(2)
    pulse = journal.pulse()
    assert (pulse.claimed, pulse.settled, pulse.in_hand, pulse.longest) == (2, None, 1, 2)
    journal.commit(first)
    clock.advance(3)
    pulse = journal.pulse()
    assert (pulse.claimed, pulse.in_hand, pulse.longest) == (5, 1, 3)
    journal.settle(first, SENT)
    clock.advance(4)
    pulse = journal.pulse()
    assert (pulse.claimed, pulse.settled, pulse.in_hand, pulse.longest) == (9, 4, 0, None)


def test_a_worker_that_is_silent_for_a_day_is_forgotten(journal, client, clock):
    """As soon as another one beats, and not before."""
    journal.beat("worker 1")
    clock.advance(86_399)
    journal.beat("worker 2")
    assert client.zcard("mailqueue:{q}:workers") == 2
    clock.advance(1)
    journal.beat("worker 2")
    assert client.zrange("mailqueue:{q}:workers", 0, -1) == ["worker 2"]


def in_state(journal: Journal, clock: Clock, wanted: State, id_: str = "m") -> None:
    """Lead a new message to that state, by the way on which it gets there in life."""
    at = clock.after(3600)
    if wanted in {State.QUEUED, State.SCHEDULED}:
        journal.accept([entry(id_, send_at=at if wanted is State.SCHEDULED else None)])
        return
    if wanted is State.EXPIRED:
        journal.accept([entry(id_, expires_at=clock.after(-1))])
        assert journal.claim([(id_, "")]) == ([], 1)
        return
    accepted(journal, id_)
    if wanted in {State.HELD, State.CANCELLED}:
        (journal.hold if wanted is State.HELD else journal.cancel)([id_])
        return
    claim = claimed(journal, id_)
    if wanted is State.COMMITTING:
        journal.commit(claim)
    elif wanted is not State.SENDING:
        waits = wanted in {State.RETRYING, State.UNCERTAIN}
        journal.settle(claim, Settlement(wanted, "a reply", {}, delay=30 if waits else None))


WAITING = {State.QUEUED, State.SCHEDULED, State.RETRYING, State.UNCERTAIN}


# The drawing of docs/design.md: which command leads from where to where; None: there is no message.
TRANSITIONS = {
    "hold": dict.fromkeys(WAITING, State.HELD),
    "resume": {State.HELD: State.QUEUED},
    "cancel": dict.fromkeys({*WAITING, State.HELD}, State.CANCELLED),
    "discard": dict.fromkeys(
        {State.FAILED, State.PARTIAL, State.EXPIRED, State.HELD, State.UNCERTAIN}
    ),
}


@pytest.mark.parametrize("before", State)
@pytest.mark.parametrize("command", TRANSITIONS)
def test_an_operator_changes_what_the_drawing_allows_and_nothing_else(
    journal, clock, command, before
):
    """From every state: the answer says whether and to what, and asking again changes no more."""
    in_state(journal, clock, before)
    legal = before in TRANSITIONS[command]
    after = TRANSITIONS[command].get(before, before)
    records = journal.read(["m"])
    assert records[0].state is before
    assert getattr(journal, command)(["m", "unknown"]) == [
        ("m", legal, after),
        ("unknown", False, None),
    ]
    if not legal:
        assert journal.read(["m"]) == records
    counts, totals = journal.counts(), journal.totals()
    assert getattr(journal, command)(["m"]) == [("m", False, after)]
    assert (journal.counts(), journal.totals()) == (counts, totals)
    assert sum(counts.values()) == (after is not None)
    assert counts.get(after, 0) == (after is not None)


def test_what_is_held_is_not_sent_until_it_is_resumed(journal):
    """Neither a task nor the timer gets it; afterwards the timer does, at once."""
    accepted(journal, "m")
    journal.hold(["m"])
    assert journal.read(["m"])[0].due is None
    assert journal.claim([("m", "")]) == ([], 1)
    assert hasty(journal).release() == []
    assert journal.retry(["m"]) == []
    journal.resume(["m"])
    assert ids_of(journal.release()) == ["m"]
    assert claimed(journal, "m").payload == "payload of m"


def test_a_scheduled_message_that_was_held_keeps_its_time(journal, clock):
    """Resumed before it, it waits for it; resumed after it, it goes to the queue."""
    journal.accept([entry("m", send_at=clock.after(60)), entry("n", send_at=clock.after(61))])
    due = journal.read(["n"])[0].due
    journal.hold(["m", "n"])
    clock.advance(60)
    assert journal.resume(["m", "n"]) == [
        ("m", True, State.QUEUED),
        ("n", True, State.SCHEDULED),
    ]
    assert journal.read(["n"])[0].due == due


def test_a_message_in_doubt_that_was_held_is_in_doubt_again(journal, clock):
    """Holding and resuming everything must not send a second copy early."""
    in_state(journal, clock, State.UNCERTAIN)
    due = journal.read(["m"])[0].due
    journal.hold(["m"])
    assert journal.resume(["m"]) == [("m", True, State.UNCERTAIN)]
    assert journal.read(["m"])[0].due == due


def test_a_message_in_doubt_without_a_time_is_resumed_without_one(journal):
    """With IN_DOUBT = "hold" it goes on waiting for a person."""
    accepted(journal, "m")
    journal.settle(claimed(journal, "m"), Settlement(State.UNCERTAIN, "no reply"))
    journal.hold(["m"])
    assert journal.resume(["m"]) == [("m", True, State.UNCERTAIN)]
    assert journal.read(["m"])[0].due is None


def test_a_message_that_became_late_while_it_was_held_expires(journal, clock):
    """It is not sent when it is resumed."""
    journal.accept([entry("m", expires_at=clock.after(60))])
    journal.hold(["m"])
    clock.advance(60)
    journal.resume(["m"])
    assert journal.claim([("m", "")]) == ([], 1)
    assert state(journal, "m") is State.EXPIRED


def test_a_cancelled_message_gives_up_its_payload_and_is_never_sent(journal):
    """Its record stays, and its id stands for it: accepting it again sends nothing."""
    accepted(journal, "m")
    journal.cancel(["m"])
    assert journal.payload("m") is None
    assert journal.claim([("m", "")]) == ([], 1)
    assert journal.accept([entry("m")]) == [("m", False)]
    assert journal.retry(["m"]) == []
    assert journal.totals() == {"accepted": 1, "cancelled": 1}


def test_what_is_being_sent_can_not_be_cancelled(journal):
    """The answer says so, and its worker goes on undisturbed."""
    accepted(journal, "m")
    claim = claimed(journal, "m")
    assert journal.cancel(["m"]) == [("m", False, State.SENDING)]
    journal.commit(claim)
    assert journal.cancel(["m"]) == [("m", False, State.COMMITTING)]
    assert journal.settle(claim, SENT)


def test_a_discarded_message_leaves_no_trace_but_in_the_totals(journal):
    """Record, payload and attachment are gone; a worker that comes back to it can do nothing."""
    journal.accept([entry("m", blobs={"abc": "content"}, idempotency_key="k")])
    claim = claimed(journal, "m")
    hasty(journal).commit(claim)
    journal.release()  # its worker seems to have vanished after the dot
    assert journal.discard(["m"]) == [("m", True, None)]
    assert not journal._client.exists("mailqueue:{q}:due")
    assert not journal.settle(claim, SENT)
    assert (journal.read(["m"]), stored(journal)) == ([], [])
    assert journal.release() == []
    assert journal.totals() == {"accepted": 1, "discarded": 1}
    assert not list(journal._client.scan_iter("*:message:*"))
    assert journal.accept([entry("n", idempotency_key="k")]) == [("n", True)]


@pytest.mark.parametrize("client", ["valkey"], indirect=True)  # the calls are ours to count
def test_many_are_changed_in_several_calls(journal):
    """More ids than one call takes, each answered in order."""
    ids = [f"m{n}" for n in range(1201)]
    accepted(journal, *ids)
    assert sorted(journal.scan(State.QUEUED)) == sorted(ids)
    assert journal.hold(ids) == [(id_, True, State.HELD) for id_ in ids]
    assert journal.counts()[State.HELD] == 1201
