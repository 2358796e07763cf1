"""What ends or begins by itself in the journal: leases, retries, times to send and to expire."""

from __future__ import annotations

import pytest

from mailqueue.queue.journal import Journal, Policy, Result, Settlement
from mailqueue.state import State
from tests.contracts.journals import (
    NOW,
    POLICY,
    accepted,
    claimed,
    entry,
    hasty,
    ids_of,
    state,
    under,
)
from tests.support import wait_until


def test_a_renewed_lease_goes_on(journal):
    """Renewing moves the due time of what is being sent."""
    accepted(journal, "m")
    (claim,), _ = hasty(journal).claim([("m", "")])
    assert journal.renew([claim]) == 1
    assert journal.release() == []
    assert journal.commit(claim)


def test_a_lease_that_ended_before_the_commit_is_safe_to_send_again(journal):
    """The message goes back to the queue, the attempt counts, and the record says why."""
    accepted(journal, "m")
    hasty(journal).claim([("m", "")])
    assert ids_of(journal.release()) == ["m"]
    (record,) = journal.read(["m"])
    assert (record.state, record.attempts) == (State.QUEUED, 1)
    assert record.reply == "the worker vanished while sending"
    assert record.history[0].state is State.QUEUED


def test_a_lease_that_ended_after_the_commit_leaves_the_message_uncertain(journal):
    """Nobody knows whether the dot arrived: it waits, and is sent again only when that is due."""
    accepted(journal, "m")
    claim = claimed(journal, "m")
    hasty(journal).commit(claim)
    assert journal.release() == []
    assert state(journal, "m") is State.UNCERTAIN
    assert journal.read(["m"])[0].due is not None
    assert journal.claim([("m", "")]) == ([], 1)


def test_uncertain_messages_may_wait_for_a_person(journal):
    """With no delay for doubt there is no due time, and only `retry` sends it again."""
    journal = under(journal, Policy(doubt=None))
    accepted(journal, "m")
    claim = claimed(journal, "m")
    hasty(journal).commit(claim)
    assert journal.release() == []
    assert (state(journal, "m"), journal.read(["m"])[0].due) == (State.UNCERTAIN, None)
    assert journal.retry(["m"]) == ["m"]
    claimed(journal, "m")


def test_a_message_that_kills_its_workers_ends_in_failed(journal):
    """After a few lost workers it fails, keeps its payload, and stops nobody any more."""
    accepted(journal, "m")
    for _ in range(POLICY.max_lost):
        hasty(journal).claim([("m", "")])
    assert journal.release() == []
    assert state(journal, "m") is State.FAILED
    assert journal.payload("m") == "payload of m"
    assert journal.claim([("m", "")]) == ([], 1)


def test_a_message_that_lost_its_worker_is_claimed_alone(journal):
    """It can't take others with it if it does so again."""
    accepted(journal, "a", "bad", "b")
    hasty(journal).claim([("bad", "")])
    journal.release()
    ids = [("a", ""), ("bad", ""), ("b", "")]
    claims, looked_at = journal.claim(ids)
    assert ([claim.id for claim in claims], looked_at) == (["a"], 1)
    claims, looked_at = journal.claim(ids[1:])
    assert ([claim.id for claim in claims], looked_at) == (["bad"], 1)
    claims, looked_at = journal.claim(ids[2:])
    assert ([claim.id for claim in claims], looked_at) == (["b"], 1)


def test_a_message_retries_when_it_is_due_and_not_before(journal, clock):
    """A delay is a due time in the journal; neither a task nor the timer can hurry it."""
    accepted(journal, "m")
    later = Settlement(State.RETRYING, "451 later", {}, delay=30)
    journal.settle(claimed(journal, "m"), later)
    clock.advance(29.999)
    assert journal.release() == []
    assert journal.claim([("m", "")]) == ([], 1)
    assert state(journal, "m") is State.RETRYING
    clock.advance(0.001)
    assert claimed(journal, "m").tries == 2


def test_what_is_due_is_released_once_for_each_grace(journal, clock):
    """Released messages are queued, and not released again while their task is under way."""
    accepted(journal, "m")
    journal.settle(claimed(journal, "m"), Settlement(State.RETRYING, "451 later", {}, delay=0))
    assert ids_of(journal.release()) == ["m"]
    assert state(journal, "m") is State.QUEUED
    assert journal.release() == []
    clock.advance(29)
    assert hasty(journal).release() == []  # the grace it was given has not ended
    clock.advance(1)
    assert ids_of(journal.release()) == ["m"]


def test_a_message_whose_task_got_lost_is_released(journal):
    """Accepted and never published: the timer finds it after the grace."""
    journal = hasty(journal)
    accepted(journal, "m")
    assert ids_of(journal.release()) == ["m"]


def test_a_released_message_keeps_its_priority(journal):
    """Whoever publishes its task knows which."""
    journal = hasty(journal)
    journal.accept([entry("m", priority="high"), entry("n")])
    released = sorted((message.id, message.priority) for message in journal.release())
    assert released == [("m", "high"), ("n", "normal")]


def test_a_released_message_that_lost_a_worker_is_a_suspect(journal):
    """Whoever publishes its task puts nothing else into it."""
    journal = hasty(journal)
    journal.accept([entry("m"), entry("n")])
    journal.claim([("m", "")])
    assert {due.id: due.is_suspect for due in journal.release()} == {"m": True, "n": False}


def test_only_one_timer_acts_in_each_tick(journal, clock):
    """Of all the workers that ask within the tick, the first gets what is due."""
    journal = under(journal, Policy(grace=0, regrace=30))
    accepted(journal, "m")
    assert ids_of(journal.release(tick=1)) == ["m"]
    accepted(journal, "n")
    clock.advance(1)
    assert journal.release(tick=1) == []
    clock.advance(0.001)
    assert ids_of(journal.release(tick=1)) == ["n"]


@pytest.mark.parametrize("client", ["valkey"], indirect=True)
def test_what_lasts_a_second_ends_by_the_servers_own_time(client):
    """A waiting task's place is forgotten by the server, and a timer's tick is over."""
    journal = Journal(client, "q", NOW)
    assert journal.accept([entry("m")], room=9) == [("m", True)]
    assert ids_of(journal.release(tick=1)) == ["m"]
    key = "mailqueue:{q}:task:normal"
    assert client.pttl(key) != -1  # which is: never
    wait_until(lambda: not client.exists(key), 30)
    assert journal.accept([entry("n")], room=9) == [("n", True)]
    wait_until(lambda: sorted(ids_of(journal.release(tick=1))) == ["m", "n"], 30)


def test_release_takes_no_more_than_its_limit(journal):
    """The rest comes in the next round."""
    journal = under(journal, Policy(grace=0, regrace=30))
    accepted(journal, "a", "b", "c")
    assert [len(journal.release(limit=2)), len(journal.release(limit=2))] == [2, 1]


def test_what_was_put_back_is_released_in_the_next_round(journal):
    """Queued messages whose task came in vain; what is in another state is not touched."""
    accepted(journal, "m", "n", "o")
    claim = claimed(journal, "n")
    journal.hold(["o"])
    assert journal.release() == []
    assert journal.put_back(["m", "n", "o", "unknown"]) == 1
    assert ids_of(journal.release()) == ["m"]
    assert journal.commit(claim)
    assert state(journal, "o") is State.HELD


def test_a_scheduled_message_waits_for_its_time(journal, clock):
    """With `send_at` in the future it is scheduled, not queued."""
    at = clock.after(3600)
    journal.accept([entry("m", send_at=at)])
    (record,) = journal.read(["m"])
    assert (record.state, record.due) == (State.SCHEDULED, at)
    clock.advance(3599)
    assert journal.claim([("m", "")]) == ([], 1)
    assert journal.release() == []
    clock.advance(1)
    assert ids_of(journal.release()) == ["m"]
    assert state(journal, "m") is State.QUEUED


def test_a_message_that_is_late_expires_and_is_not_sent(journal, clock):
    """At its time it leaves the queue, whoever looks first; a retry gives it another life."""
    soon = clock.after(3)
    journal.accept([entry("m", expires_at=soon), entry("n", expires_at=soon)])
    assert journal.read(["m"])[0].due == soon
    clock.advance(3)
    assert journal.claim([("m", "")]) == ([], 1)
    assert journal.release() == []
    assert (state(journal, "m"), state(journal, "n")) == (State.EXPIRED, State.EXPIRED)
    assert journal.totals() == {"accepted": 2, "expired": 2}
    assert journal.retry(["m"]) == ["m"]
    claimed(journal, "m")


def test_a_message_that_may_have_been_sent_does_not_expire(journal, clock):
    """Uncertain and too late to be sent again: it waits for a person."""
    journal.accept([entry("m", expires_at=clock.after(3))])
    claim = claimed(journal, "m")
    hasty(journal).commit(claim)
    assert journal.release() == []
    clock.advance(3)
    assert journal.release() == []
    assert (state(journal, "m"), journal.read(["m"])[0].due) == (State.UNCERTAIN, None)
    assert journal.retry(["m"]) == ["m"]  # the person wants it sent, late as it is
    claimed(journal, "m")


def test_a_message_that_was_in_doubt_once_does_not_expire_either(journal, clock):
    """Queued again, and then too late: it may have been sent, so a person decides."""
    journal.accept([entry("m", expires_at=clock.after(3))])
    hasty(journal).commit(claimed(journal, "m"))
    assert ids_of(hasty(journal).release()) == ["m"]
    assert state(journal, "m") is State.QUEUED
    clock.advance(3)
    assert journal.claim([("m", "")]) == ([], 1)
    assert (state(journal, "m"), journal.read(["m"])[0].due) == (State.UNCERTAIN, None)


def test_a_settlement_that_comes_too_late_is_not_said_to_be_recorded(journal):
    """Not even where the message is in that state already, because it lost too many workers."""
    accepted(journal, "m")
    for _ in range(POLICY.max_lost):
        ((claim,), _) = hasty(journal).claim([("m", "")])
    assert journal.release() == []
    assert state(journal, "m") is State.FAILED
    refused = {"c@x": Result(State.FAILED, "550 no")}
    assert not journal.settle(claim, Settlement(State.FAILED, "550 no", refused))
    assert state(journal, "m") is State.FAILED
    replies = {result.reply for result in journal.read(["m"])[0].results.values()}
    assert replies == {"the worker vanished while sending"}


def test_a_late_settlement_that_is_said_to_be_recorded_is(journal):
    """The message is in that state already, because its lease ended; its results are new."""
    accepted(journal, "m")
    claim = claimed(journal, "m")
    hasty(journal).commit(claim)
    assert journal.release() == []
    refused = {"c@x": Result(State.FAILED, "550 no")}
    assert journal.settle(claim, Settlement(State.UNCERTAIN, "no reply", refused, delay=30))
    assert (state(journal, "m"), journal.read(["m"])[0].results) == (State.UNCERTAIN, refused)


def test_a_late_result_ends_a_message_that_is_held_meanwhile(journal):
    """It was sent, as is known now: resuming it would make a second copy."""
    accepted(journal, "m")
    claim = claimed(journal, "m")
    hasty(journal).commit(claim)
    assert journal.release() == []
    journal.hold(["m"])
    assert not journal.settle(claim, Settlement(State.RETRYING, "451 later", {}, delay=0))
    assert state(journal, "m") is State.HELD
    assert journal.settle(claim, Settlement(State.SENT, "250 OK", {}))
    assert state(journal, "m") is State.SENT


def test_an_id_without_a_record_is_looked_at_once(journal, client):
    """What names no message is due no more after the timer has seen it."""
    client.zadd("mailqueue:{q}:due", {"gone": 1})
    accepted(journal, "m")
    assert journal.release() == []
    assert client.zrange("mailqueue:{q}:due", 0, -1) == ["m"]
