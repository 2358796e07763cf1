"""What the journal takes, hands out and records, on every server that it is said to run on."""

from __future__ import annotations

import pytest

from mailqueue.queue.journal import Result, SettledClaim, Settlement, known_queues
from mailqueue.state import State
from tests.contracts.journals import (
    SENT,
    accepted,
    claimed,
    entry,
    hasty,
    ids_of,
    state,
    stored,
)


def test_an_accepted_message_is_on_record(journal, client):
    """Accepting makes one record, queued, with a due time; its queue is known from then on."""
    accepted(journal, "m")
    (record,) = journal.read(["m"])
    assert (record.state, record.subject, record.sender) == (State.QUEUED, "about m", "a@x")
    assert record.recipients == ("b@x", "c@x")
    assert (record.attempts, record.history, record.results) == (0, (), {})
    assert record.due is not None
    assert journal.counts()[State.QUEUED] == 1
    assert journal.totals() == {"accepted": 1}
    assert known_queues(client) == {"q"}


def test_accepting_an_id_again_changes_nothing(journal):
    """Accept is idempotent by id, in one call and in the next, also after the message's end."""
    accepted(journal, "m")
    again = journal.accept([entry("m", payload="other"), entry("n")])
    assert again == [("m", False), ("n", True)]
    claim = claimed(journal, "m")
    assert claim.payload == "payload of m"
    journal.settle(claim, SENT)
    assert journal.accept([entry("m")]) == [("m", False)]
    assert state(journal, "m") is State.SENT
    assert journal.totals() == {"accepted": 2, "sent": 1}


@pytest.mark.parametrize("client", ["valkey"], indirect=True)  # the calls are ours to count
def test_more_messages_than_one_call_takes_are_all_accepted(journal):
    """A large batch is accepted in several calls, in order."""
    ids = [f"m{n}" for n in range(1201)]
    accepted(journal, *ids)
    assert journal.counts()[State.QUEUED] == 1201
    assert sorted(journal.ids(State.QUEUED)) == sorted(ids)


def test_a_claim_counts_the_attempt_and_brings_what_is_needed(journal):
    """The claim holds token, attempt and payload; the payload only where the task's differs."""
    accepted(journal, "m", "n")
    (one, other), looked_at = journal.claim([("m", "digest of m"), ("n", "forged")])
    assert looked_at == 2
    assert (one.attempt, one.tries, one.payload) == (1, 1, "")
    assert other.payload == "payload of n"
    assert one.token != other.token
    assert state(journal, "m") is State.SENDING


def test_a_message_has_one_owner(journal):
    """What is claimed can't be claimed again; unknown ids are passed over."""
    accepted(journal, "m")
    claimed(journal, "m")
    assert journal.claim([("m", ""), ("unknown", "")]) == ([], 2)


def test_a_message_that_is_named_twice_is_claimed_once(journal, client):
    """By one call, be it by its id or as one that joined a task."""
    accepted(journal, "m")
    claims, looked_at = journal.claim([("m", ""), ("m", "")])
    assert ([claim.attempt for claim in claims], looked_at) == ([1], 2)
    journal.accept([entry("n")], room=9)
    journal.accept([entry("o")], room=9)
    client.rpush("mailqueue:{q}:joined:normal", "o")
    assert [claim.id for claim in journal.take(9, begins="n")[0]] == ["n", "o"]
    assert journal.read(["o"])[0].attempts == 1


def test_a_sent_message_is_final_and_gives_up_its_payload(journal):
    """After settling as sent there is no due time, no payload, and no way to claim it."""
    accepted(journal, "m")
    claim = claimed(journal, "m")
    assert journal.commit(claim)
    assert state(journal, "m") is State.COMMITTING
    assert journal.settle(claim, SENT, "worker 1")
    (record,) = journal.read(["m"])
    assert (record.state, record.due, record.reply) == (State.SENT, None, "250 ok")
    assert record.results == dict.fromkeys(["b@x", "c@x"], Result(State.SENT, "250 ok"))
    assert [(a.number, a.state, a.reply, a.worker) for a in record.history] == [
        (1, State.SENT, "250 ok", "worker 1")
    ]
    assert journal.payload("m") is None
    assert journal.claim([("m", "")]) == ([], 1)


def test_an_empty_payload_is_kept_like_any_other(journal):
    """It can't be sent, so the message fails and may be tried again: only an end gives it up."""
    assert journal.accept([entry("m", payload="")]) == [("m", True)]
    journal.settle(claimed(journal, "m"), Settlement(State.FAILED, "the payload can't be read"))
    assert (journal.payload("m"), journal.read(["m"])[0].has_payload) == ("", True)
    assert journal.retry(["m"]) == ["m"]
    journal.settle(claimed(journal, "m"), SENT)
    assert (journal.payload("m"), journal.read(["m"])[0].has_payload) == (None, False)


def test_settling_twice_is_settling_once(journal):
    """A settlement whose answer got lost may be repeated."""
    accepted(journal, "m")
    claim = claimed(journal, "m")
    assert journal.settle(claim, SENT)
    assert journal.settle(claim, SENT)
    assert journal.totals() == {"accepted": 1, "sent": 1}


def test_a_stale_claim_can_do_nothing(journal):
    """Once the lease has ended and another owns the message, the first token opens no door."""
    accepted(journal, "m")
    (first,), _ = hasty(journal).claim([("m", "")])
    second = claimed(journal, "m")
    assert second.token != first.token
    assert not journal.commit(first)
    assert not journal.settle(first, SENT)
    assert not journal.give_back(first)
    assert journal.renew([first]) == 0
    assert journal.commit(second)


def test_a_result_that_comes_after_its_lease_still_counts(journal):
    """Nobody has claimed the message since: the result spares a second copy."""
    accepted(journal, "m")
    claim = claimed(journal, "m")
    assert journal.commit(claim)
    hasty(journal).commit(claim)  # whose lease ends at once
    assert journal.release() == []
    assert state(journal, "m") is State.UNCERTAIN
    assert journal.settle(claim, SENT)
    assert state(journal, "m") is State.SENT
    assert journal.settle(claim, SENT)
    assert journal.totals() == {"accepted": 1, "sent": 1}


def test_a_refusal_that_comes_after_its_lease_still_counts(journal):
    """Refused before the commit, and nobody has claimed the message since: it isn't sent again."""
    accepted(journal, "m")
    ((claim,), _) = hasty(journal).claim([("m", "")])
    assert ids_of(journal.release()) == ["m"]
    assert state(journal, "m") is State.QUEUED
    refused = Settlement(State.FAILED, "550 no")
    assert journal.settle(claim, refused)
    assert journal.read(["m"])[0].reply == "550 no"
    assert journal.claim([("m", "")]) == ([], 1)


def test_a_result_that_comes_after_another_claim_counts_no_more(journal):
    """Its token is stale: what the new owner finds out counts."""
    accepted(journal, "m")
    claim = claimed(journal, "m")
    assert hasty(journal).commit(claim)
    journal.release()
    assert journal.retry(["m"]) == ["m"]
    newer = claimed(journal, "m")
    assert not journal.settle(claim, SENT)
    assert journal.settle(newer, SENT)


def test_a_result_does_not_undo_what_a_person_asked_for(journal):
    """It was on record before, and comes again after `retry`: the message stays queued."""
    accepted(journal, "m")
    claim = claimed(journal, "m")
    failed = Settlement(State.FAILED, "550 no")
    assert journal.settle(claim, failed)
    assert journal.retry(["m"]) == ["m"]
    assert not journal.settle(claim, failed)
    assert state(journal, "m") is State.QUEUED


def test_an_idempotency_key_stands_for_one_message(journal):
    """A second message with the key is accepted as the first, also within one call."""
    first, second = entry("m", idempotency_key="k"), entry("n", idempotency_key="k")
    assert journal.accept([first, second]) == [("m", True), ("m", False)]
    assert journal.accept([second]) == [("m", False)]
    assert journal.accept([entry("o", idempotency_key="other")]) == [("o", True)]
    assert journal.counts()[State.QUEUED] == 2


def test_an_idempotency_key_is_forgotten_after_its_window(journal, clock):
    """From then on the key makes a message of its own."""
    journal.accept([entry("m", idempotency_key="k")])
    clock.advance(86_400)
    assert journal.accept([entry("n", idempotency_key="k")]) == [("m", False)]
    clock.advance(0.001)
    assert journal.accept([entry("n", idempotency_key="k")]) == [("n", True)]
    assert journal.accept([entry("o", idempotency_key="k")]) == [("n", False)]


def test_an_attachment_is_stored_once_and_goes_with_its_last_message(journal):
    """However many messages refer to it; a message that failed still needs it."""
    both = [entry(id_, blobs={"abc": "content"}) for id_ in ("m", "n")]
    journal.accept([*both, entry("o", blobs={"abc": "content", "def": "other"})])
    assert sorted(stored(journal)) == ["abc", "def"]
    assert journal.blob("abc") == "content"
    for id_ in ("m", "o"):
        journal.settle(claimed(journal, id_), SENT)
    assert stored(journal) == ["abc"]
    journal.settle(claimed(journal, "n"), Settlement(State.FAILED, "550 no"))
    assert stored(journal) == ["abc"]
    assert journal.trim(State.FAILED, 0) == 1
    assert stored(journal) == []
    assert journal.blob("abc") is None
    assert not journal._client.exists("mailqueue:{q}:blobs")


def test_accepting_again_counts_no_attachment_twice(journal):
    """What is accepted already leaves no reference behind, and what nobody refers to expires."""
    message = entry("m", blobs={"abc": "content"})
    journal.accept([message])
    journal.accept([message])
    journal.settle(claimed(journal, "m"), SENT)
    assert stored(journal) == []
    journal.accept([message])
    assert journal._client.ttl("mailqueue:{q}:blob:abc") > 0


def test_a_claim_given_back_costs_no_attempt(journal):
    """At the worker's end it is queued at once; in the server's trouble it waits a while."""
    accepted(journal, "m")
    assert journal.give_back(claimed(journal, "m"))
    (record,) = journal.read(["m"])
    assert (record.state, record.attempts) == (State.QUEUED, 0)
    claim = claimed(journal, "m")
    assert claim.attempt == 1
    assert journal.give_back(claim, 30, "421 too busy")
    (record,) = journal.read(["m"])
    assert (record.state, record.attempts, record.reply) == (State.RETRYING, 0, "421 too busy")


def test_a_commit_may_be_repeated_on_another_connection(journal):
    """The server said 421 instead of a reply: the same claim goes on, or is given back."""
    accepted(journal, "m")
    claim = claimed(journal, "m")
    assert [journal.commit(claim), journal.commit(claim)] == [True, True]
    assert journal.give_back(claim, 30, "421 going down")
    assert (state(journal, "m"), journal.read(["m"])[0].attempts) == (State.RETRYING, 0)
    assert not journal.commit(claim)


def test_many_are_recorded_and_committed_in_one_call(journal):
    """Each answer is for its own message: a stale claim among them stops none of the others."""
    ids = ["done", "late", "next", "taken", "last"]
    accepted(journal, *ids)
    late, taken = hasty(journal).claim([("late", ""), ("taken", "")])[0]
    newer = [claimed(journal, "late"), claimed(journal, "taken")]
    done, next_, last = (claimed(journal, id_) for id_ in ("done", "next", "last"))
    assert journal.advance([], [done]) == ([], [True], 0)
    failed = Settlement(State.FAILED, "550 no")
    results = [SettledClaim(done, SENT, "worker 1"), SettledClaim(late, failed)]
    expected = [True, False], [True, False, True], 0
    assert journal.advance(results, [next_, taken, last]) == expected
    assert journal.advance(results, [next_, taken, last]) == expected  # its answer got lost
    found = [state(journal, id_).value for id_ in ids]
    assert found == ["sent", "sending", "committing", "sending", "committing"]
    (record,) = journal.read(["done"])
    assert [(a.number, a.state, a.worker) for a in record.history] == [(1, State.SENT, "worker 1")]
    assert journal.totals()["sent"] == 1
    assert journal.advance([], newer) == ([], [True, True], 0)
    assert journal.advance([], []) == ([], [], 0)


def test_what_is_in_hand_is_listed_by_the_time_when_it_entered_its_state(journal, clock):
    """Sending and committing share a set, and are told apart."""
    accepted(journal, "a", "b", "c")
    claims = {id_: claimed(journal, id_) for id_ in ("a", "b", "c")}
    for id_ in ("c", "a"):
        clock.advance(0.001)
        journal.commit(claims[id_])
    assert list(journal.ids(State.SENDING)) == ["b"]
    assert list(journal.ids(State.COMMITTING)) == ["c", "a"]
    assert list(journal.ids(State.COMMITTING, newest_first=True)) == ["a", "c"]
    counts = journal.counts()
    assert (counts[State.SENDING], counts[State.COMMITTING]) == (1, 2)


def test_a_commit_lasts_longer_than_the_claim(journal, client):
    """Its time is in the record only: who looks at the end of the claim's lease looks again."""
    accepted(journal, "m")
    ((claim,), _) = hasty(journal).claim([("m", "")])
    assert journal.commit(claim)
    due = journal.read(["m"])[0].due.timestamp() * 1000
    assert client.zscore("mailqueue:{q}:due", "m") < due
    assert journal.release() == []
    assert client.zscore("mailqueue:{q}:due", "m") == due
    assert state(journal, "m") is State.COMMITTING
    assert journal.settle(claim, SENT)
