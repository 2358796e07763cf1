"""What comes too late in the journal: stale claims, late results, lost workers that add up."""

from __future__ import annotations

from mailqueue.queue.journal import Policy, Result, Settlement
from mailqueue.state import State
from tests.contracts.journals import (
    POLICY,
    SENT,
    accepted,
    claimed,
    entry,
    hasty,
    ids_of,
    state,
    under,
)

LATER = Settlement(State.RETRYING, "451 later", {}, delay=0)
FAILED = Settlement(State.FAILED, "550 no")


def lost(journal, *, committed: bool = False):
    """Claim "m", and let its worker vanish; return the claim."""
    ((claim,), _) = (journal if committed else hasty(journal)).claim([("m", "")])
    if committed:
        assert hasty(journal).commit(claim)
    return claim


def test_a_stale_claim_cannot_say_that_a_message_was_sent(journal):
    """A worker that gave a message back can't end it while the next one has it."""
    accepted(journal, "m")
    first = claimed(journal, "m")
    assert journal.give_back(first)
    second = claimed(journal, "m")
    assert not journal.settle(first, SENT)
    assert state(journal, "m") is State.SENDING
    assert journal.settle(second, SENT)


def test_a_late_result_does_not_undo_an_operators_retry(journal):
    """A message that was in doubt, and that a person wants tried again, takes no late result."""
    accepted(journal, "m")
    claim = lost(journal, committed=True)
    assert journal.release() == []
    assert journal.retry(["m"]) == ["m"]
    for late in (SENT, FAILED):
        assert not journal.settle(claim, late)
    assert (state(journal, "m"), journal.read(["m"])[0].results) == (State.QUEUED, {})
    assert claimed(journal, "m").attempt == 2


def test_a_retry_that_has_not_seen_a_result_does_nothing(journal):
    """A result that comes between an operator's look and the retry isn't forgotten by that."""
    accepted(journal, "m")
    served = {"b@x": Result(State.SENT, "250 ok"), "c@x": Result(State.FAILED, "550 no")}
    assert journal.settle(claimed(journal, "m"), Settlement(State.PARTIAL, "550 no", served))
    assert journal._call("retry", [0, "m", "{}", "{}"]) == []  # as seen before the result
    assert (state(journal, "m"), journal.read(["m"])[0].results) == (State.PARTIAL, served)
    assert journal.retry(["m"]) == ["m"]


def test_only_the_last_claims_late_result_counts(journal):
    """Of two workers whose leases have ended, the one that had the message last is believed."""
    accepted(journal, "m")
    first, last = lost(journal), lost(journal)
    assert ids_of(journal.release()) == ["m"]
    assert not journal.settle(first, FAILED)
    assert journal.settle(last, FAILED)


def test_a_claim_ends_what_the_one_before_could_still_say(journal):
    """A worker that vanished is not believed any more once another has had the message."""
    accepted(journal, "m")
    first = lost(journal)
    assert ids_of(journal.release()) == ["m"]
    assert journal.give_back(claimed(journal, "m"))
    assert not journal.settle(first, FAILED)
    assert state(journal, "m") is State.QUEUED


def test_lost_workers_add_up(journal):
    """A message that has lost all workers but one that it may lose is sent by the next one."""
    accepted(journal, "m")
    for _ in range(POLICY.max_lost - 1):
        lost(journal)
    assert ids_of(journal.release()) == ["m"]
    assert claimed(journal, "m").is_suspect
    assert journal.read(["m"])[0].attempts == POLICY.max_lost


def test_lost_workers_count_no_more_after_a_result(journal):
    """A message that lost workers and then got a reply may lose as many again."""
    accepted(journal, "m")
    for _ in range(2):
        for _ in range(POLICY.max_lost - 1):
            lost(journal)
        claim = claimed_at_last(journal)
        assert claim.is_suspect
        assert journal.settle(claim, LATER)
    assert not claimed(journal, "m").is_suspect


def claimed_at_last(journal):
    journal.release()
    return claimed(journal, "m")


def test_lost_workers_count_no_more_after_a_retry(journal):
    """A message that an operator has tried again is suspected of nothing."""
    accepted(journal, "m")
    for _ in range(POLICY.max_lost):
        lost(journal)
    assert journal.release() == []
    assert journal.retry(["m"]) == ["m"]
    assert not claimed(journal, "m").is_suspect


def test_a_worker_lost_after_the_dot_counts_like_any_other(journal):
    """A message that lost its last worker after the dot fails, and isn't sent again by itself."""
    journal = under(journal, Policy(lease=30, doubt=30, reply_wait=30, max_lost=1))
    accepted(journal, "m")
    lost(journal, committed=True)
    assert journal.release() == []
    (record,) = journal.read(["m"])
    assert (record.state, record.due) == (State.FAILED, None)
    assert "after the final dot" in record.reply


def test_a_failed_message_that_may_have_been_sent_does_not_expire(journal, clock):
    """A message that lost its last worker after the dot, tried again and late, is uncertain."""
    journal = under(journal, Policy(lease=30, doubt=30, reply_wait=30, max_lost=1))
    journal.accept([entry("m", expires_at=clock.after(60))])
    lost(journal, committed=True)
    assert journal.release() == []
    assert journal.retry(["m"]) == ["m"]
    clock.advance(60)
    assert journal.claim([("m", "")]) == ([], 1)
    assert state(journal, "m") is State.UNCERTAIN


def test_a_message_without_a_reply_does_not_expire_later(journal, clock):
    """A message that a worker had no reply for, and that is too late afterwards, is uncertain."""
    journal.accept([entry("m", expires_at=clock.after(60))])
    claim = claimed(journal, "m")
    assert journal.settle(claim, Settlement(State.UNCERTAIN, "no reply", {}, delay=30))
    clock.advance(30)
    assert ids_of(journal.release()) == ["m"]
    clock.advance(30)
    assert journal.claim([("m", "")]) == ([], 1)
    assert state(journal, "m") is State.UNCERTAIN


def test_a_task_finds_that_a_commit_has_ended(journal):
    """A task that comes when a commit's time is over leaves its message uncertain."""
    accepted(journal, "m")
    lost(journal, committed=True)
    assert journal.claim([("m", "")]) == ([], 1)
    assert state(journal, "m") is State.UNCERTAIN


def test_what_waits_for_a_person_is_not_claimed(journal):
    """A message in doubt without a due time is not claimed by a task that comes late."""
    accepted(journal, "m")
    journal.settle(claimed(journal, "m"), Settlement(State.UNCERTAIN, "no reply"))
    assert journal.claim([("m", "")]) == ([], 1)
    assert hasty(journal).release() == []
    assert state(journal, "m") is State.UNCERTAIN


def test_a_worker_that_vanished_is_the_newest_reply(journal):
    """The reason why a message waits is shown instead of what a server said before."""
    accepted(journal, "m")
    assert journal.give_back(claimed(journal, "m"), 0, "421 too busy")
    lost(journal)
    assert ids_of(journal.release()) == ["m"]
    assert journal.read(["m"])[0].reply == "the worker vanished while sending"


def test_what_joined_and_lost_a_worker_is_not_taken_along(journal):
    """A message that may kill its worker again is left to a task of its own."""
    journal.accept([entry("m")], room=9)
    lost(journal)
    assert ids_of(journal.release()) == ["m"]
    assert journal.take(9) == ([], 0)
    assert claimed(journal, "m").is_suspect


def test_a_lease_lasts_from_its_newest_renewal(journal, clock):
    """A renewed claim is nobody else's and not overdue until a whole lease after that."""
    accepted(journal, "m")
    claim = claimed(journal, "m")
    clock.advance(20)
    assert journal.renew([claim]) == 1
    clock.advance(29.999)
    assert journal.claim([("m", "")]) == ([], 1)
    assert journal.pulse().waiting == 0
    assert journal.commit(claim)
    clock.advance(30)
    assert journal.release() == []
    assert state(journal, "m") is State.UNCERTAIN


def test_a_renewal_touches_only_what_is_sent_before_its_dot(journal):
    """A committed message keeps its longer time, and one that was given back its delay."""
    accepted(journal, "m", "n")
    one, other = claimed(journal, "m"), claimed(journal, "n")
    assert journal.commit(one)
    assert journal.give_back(other, 600)
    before = journal.read(["m", "n"])
    assert journal.renew([one, other]) == 0
    assert hasty(journal).renew([one, other]) == 0
    assert journal.read(["m", "n"]) == before


def test_a_claim_that_is_given_back_for_a_while_waits(journal, clock):
    """A message that a server couldn't take now is due after the delay, and not before."""
    accepted(journal, "m")
    assert journal.give_back(claimed(journal, "m"), 600, "421 too busy")
    clock.advance(599.999)
    assert journal.claim([("m", "")]) == ([], 1)
    assert journal.release() == []
    clock.advance(0.001)
    assert journal.give_back(claimed(journal, "m"))
    assert journal.read(["m"])[0].reply == "421 too busy"  # there is no newer one
