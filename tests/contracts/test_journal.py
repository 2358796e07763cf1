"""The journal's contract, on every server that it is said to run on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import fakeredis
import pytest
import redis

from mailqueue.errors import ImproperlyConfigured, JournalUnavailable
from mailqueue.journal import (
    Claim,
    Entry,
    Journal,
    Policy,
    Result,
    Settled,
    Settlement,
    State,
    connect,
    known_queues,
    now_on,
)
from tests.support import NEEDS_REDIS, wait_until

# Times for tests: long enough that nothing ends by itself, unless a test makes it short.
POLICY = Policy(lease=30, grace=30, regrace=30, doubt=30, reply_wait=30, max_lost=3)
NOW = Policy(lease=0, grace=0, regrace=0, doubt=0, reply_wait=0, max_lost=3)


@pytest.fixture(
    params=[
        "valkey",
        pytest.param("redis", marks=NEEDS_REDIS),
        "fakeredis",
    ]
)
def client(request: pytest.FixtureRequest) -> Iterator[redis.Redis]:
    """An empty database on the server that the parameter names."""
    if request.param == "fakeredis":
        # It differs in this: nothing is kept on a disk (WAITAOF), and a script isn't atomic
        # against other threads, so that the tests of either stay with the real servers.
        yield fakeredis.FakeRedis(decode_responses=True)
        return
    fixture = {"valkey": "redis_url", "redis": "real_redis"}[request.param]
    found = connect(request.getfixturevalue(fixture), 2.0)
    found.flushall()
    yield found
    found.close()


@pytest.fixture
def journal(client: redis.Redis) -> Journal:
    """A journal whose times never end by themselves."""
    return Journal(client, "q", POLICY)


def hasty(journal: Journal) -> Journal:
    """The same journal, with all times at an end at once."""
    return Journal(journal._client, journal.queue, NOW)


def entry(id_: str, **changes: object) -> Entry:
    summary = {"subject": f"about {id_}", "from": "a@x", "to": ["b@x", "c@x"]}
    values = {
        "id": id_,
        "payload": f"payload of {id_}",
        "digest": f"digest of {id_}",
        "summary": summary,
    }
    return Entry(**{**values, **changes})


def accepted(journal: Journal, *ids: str) -> None:
    assert journal.accept([entry(id_) for id_ in ids]) == [(id_, True) for id_ in ids]


def claimed(journal: Journal, id_: str):
    claims, _ = journal.claim([(id_, "")])
    assert [claim.id for claim in claims] == [id_]
    return claims[0]


def ids_of(due) -> list[str]:
    return [message.id for message in due]


def state(journal: Journal, id_: str) -> State:
    return journal.read([id_])[0].state


SENT = Settlement(State.SENT, "250 ok", {"b@x": Result(State.SENT, "250 ok")})


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
    assert [claim.id for claim in journal.take(9, begins="m")[0]] == ["o"]
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
    assert record.results == {"b@x": Result(State.SENT, "250 ok")}
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


def test_a_refusal_that_comes_after_its_lease_still_counts(client):
    """Refused before the commit, and nobody has claimed the message since: it isn't sent again."""
    journal = Journal(client, "q", POLICY)
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


def test_uncertain_messages_may_wait_for_a_person(client):
    """With no delay for doubt there is no due time, and only `retry` sends it again."""
    journal = Journal(client, "q", Policy(doubt=None))
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


def test_a_message_retries_when_it_is_due_and_not_before(journal):
    """A delay is a due time in the journal; neither a task nor the timer can hurry it."""
    accepted(journal, "m")
    later = Settlement(State.RETRYING, "451 later", {}, delay=30)
    journal.settle(claimed(journal, "m"), later)
    assert journal.release() == []
    assert journal.claim([("m", "")]) == ([], 1)
    assert state(journal, "m") is State.RETRYING


def test_what_is_due_is_released_once_for_each_grace(journal):
    """Released messages are queued, and not released again while their task is under way."""
    accepted(journal, "m")
    journal.settle(claimed(journal, "m"), Settlement(State.RETRYING, "451 later", {}, delay=0))
    assert ids_of(journal.release()) == ["m"]
    assert state(journal, "m") is State.QUEUED
    assert journal.release() == []
    assert hasty(journal).release() == []  # the grace it was given has not ended


def test_a_message_whose_task_got_lost_is_released(client):
    """Accepted and never published: the timer finds it after the grace."""
    journal = Journal(client, "q", NOW)
    accepted(journal, "m")
    assert ids_of(journal.release()) == ["m"]


def test_a_released_message_keeps_its_priority(client):
    """Whoever publishes its task knows which."""
    journal = Journal(client, "q", NOW)
    journal.accept([entry("m", priority="high"), entry("n")])
    released = sorted((message.id, message.priority) for message in journal.release())
    assert released == [("m", "high"), ("n", "normal")]


def test_a_released_message_that_lost_a_worker_is_a_suspect(client):
    """Whoever publishes its task puts nothing else into it."""
    journal = Journal(client, "q", NOW)
    journal.accept([entry("m"), entry("n")])
    journal.claim([("m", "")])
    assert {due.id: due.is_suspect for due in journal.release()} == {"m": True, "n": False}


def test_only_one_timer_acts_in_each_tick(client):
    """Of all the workers that ask within the tick, the first gets what is due."""
    journal = Journal(client, "q", NOW)
    accepted(journal, "m")
    assert ids_of(journal.release(tick=30)) == ["m"]
    accepted(journal, "n")
    assert journal.release(tick=30) == []


def test_release_takes_no_more_than_its_limit(client):
    """The rest comes in the next round."""
    journal = Journal(client, "q", Policy(grace=0, regrace=30))
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


def test_a_scheduled_message_waits_for_its_time(journal):
    """With `send_at` in the future it is scheduled, not queued."""
    at = datetime.now(UTC) + timedelta(hours=1)
    journal.accept([entry("m", send_at=at)])
    (record,) = journal.read(["m"])
    assert record.state is State.SCHEDULED
    assert abs(record.due - at) < timedelta(milliseconds=1)
    assert journal.claim([("m", "")]) == ([], 1)


def test_a_message_that_is_late_expires_and_is_not_sent(journal):
    """At its time it leaves the queue, whoever looks first; a retry gives it another life."""
    soon = datetime.now(UTC) + timedelta(milliseconds=50)
    journal.accept([entry("m", expires_at=soon), entry("n", expires_at=soon)])
    assert journal.read(["m"])[0].due < datetime.now(UTC) + timedelta(seconds=5)
    wait_until(lambda: datetime.now(UTC) > soon + timedelta(milliseconds=20), 5)
    assert journal.claim([("m", "")]) == ([], 1)
    assert journal.release() == []
    assert (state(journal, "m"), state(journal, "n")) == (State.EXPIRED, State.EXPIRED)
    assert journal.totals() == {"accepted": 2, "expired": 2}
    assert journal.retry(["m"]) == ["m"]
    claimed(journal, "m")


def test_a_message_that_may_have_been_sent_does_not_expire(journal):
    """Uncertain and too late to be sent again: it waits for a person."""
    soon = datetime.now(UTC) + timedelta(milliseconds=200)
    journal.accept([entry("m", expires_at=soon)])
    claim = claimed(journal, "m")
    hasty(journal).commit(claim)
    assert journal.release() == []
    wait_until(lambda: datetime.now(UTC) > soon + timedelta(milliseconds=20), 5)
    assert journal.release() == []
    assert (state(journal, "m"), journal.read(["m"])[0].due) == (State.UNCERTAIN, None)
    assert journal.retry(["m"]) == ["m"]  # the person wants it sent, late as it is
    claimed(journal, "m")


def test_a_message_that_was_in_doubt_once_does_not_expire_either(journal):
    """Queued again, and then too late: it may have been sent, so a person decides."""
    soon = datetime.now(UTC) + timedelta(milliseconds=100)
    journal.accept([entry("m", expires_at=soon)])
    hasty(journal).commit(claimed(journal, "m"))
    assert ids_of(hasty(journal).release()) == ["m"]
    assert state(journal, "m") is State.QUEUED
    wait_until(lambda: datetime.now(UTC) > soon + timedelta(milliseconds=20), 5)
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
    assert (state(journal, "m"), journal.read(["m"])[0].results) == (State.FAILED, {})


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


def test_an_idempotency_key_stands_for_one_message(journal):
    """A second message with the key is accepted as the first, also within one call."""
    first, second = entry("m", idempotency_key="k"), entry("n", idempotency_key="k")
    assert journal.accept([first, second]) == [("m", True), ("m", False)]
    assert journal.accept([second]) == [("m", False)]
    assert journal.accept([entry("o", idempotency_key="other")]) == [("o", True)]
    assert journal.counts()[State.QUEUED] == 2


def test_an_idempotency_key_is_forgotten_after_its_window(client):
    """From then on the key makes a message of its own."""
    journal = Journal(client, "q", Policy(same_within=0.05))
    journal.accept([entry("m", idempotency_key="k")])

    def accepted_anew() -> bool:
        return journal.accept([entry("n", idempotency_key="k")]) == [("n", True)]

    wait_until(accepted_anew, 5)


def stored(journal: Journal) -> list[str]:
    """The names of the attachments that the journal holds."""
    return [key.rpartition(":")[2] for key in journal._client.scan_iter("*:blob:*")]


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
    assert journal.advance([], [done]) == ([], [True])
    failed = Settlement(State.FAILED, "550 no")
    results = [Settled(done, SENT, "worker 1"), Settled(late, failed)]
    expected = [True, False], [True, False, True]
    assert journal.advance(results, [next_, taken, last]) == expected
    assert journal.advance(results, [next_, taken, last]) == expected  # its answer got lost
    found = [state(journal, id_).value for id_ in ids]
    assert found == ["sent", "sending", "committing", "sending", "committing"]
    (record,) = journal.read(["done"])
    assert [(a.number, a.state, a.worker) for a in record.history] == [(1, State.SENT, "worker 1")]
    assert journal.totals()["sent"] == 1
    assert journal.advance([], newer) == ([], [True, True])
    assert journal.advance([], []) == ([], [])


def test_a_server_that_evicts_is_refused(client, request):
    """Before anything is accepted; a policy that spares what has no expiry is not."""
    if isinstance(client, fakeredis.FakeRedis):
        return  # it has neither a memory limit nor a policy
    client.config_set("maxmemory-policy", "allkeys-lru")
    request.addfinalizer(lambda: client.config_set("maxmemory-policy", "noeviction"))
    with pytest.raises(ImproperlyConfigured, match="allkeys-lru"):
        Journal(client, "q").accept([entry("m")])
    assert list(client.scan_iter()) == []


@NEEDS_REDIS
def test_a_server_that_can_not_tell_when_it_has_synced_is_refused(real_redis):
    """Redis before 7.2 has no WAITAOF; newer ones and Valkey do."""
    client = connect(real_redis, 2.0)
    client.flushall()
    version = tuple(map(int, client.info()["redis_version"].split(".")[:2]))
    journal = Journal(client, "q")
    if version >= (7, 2):
        assert journal.accept([entry("m")], fsync=True) == [("m", True)]
        return
    with pytest.raises(ImproperlyConfigured, match="fsync"):
        journal.accept([entry("m")], fsync=True)
    assert list(client.scan_iter()) == []


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


def test_old_final_records_are_trimmed_and_others_are_not(journal):
    """Retention removes what has ended; the totals stay."""
    accepted(journal, "m", "n", "o")
    journal.settle(claimed(journal, "m"), SENT)
    journal.settle(claimed(journal, "n"), Settlement(State.FAILED, "550 no"))
    assert journal.trim(State.SENT, 3600) == 0
    assert journal.trim(State.SENT, 0) == 1
    assert journal.trim(State.QUEUED, 0) == 0
    assert [record.id for record in journal.read(["m", "n", "o"])] == ["n", "o"]
    assert journal.counts()[State.SENT] == 0
    assert journal.totals() == {"accepted": 3, "sent": 1, "failed": 1}


def test_the_pulse_tells_workers_and_overdue_messages(journal):
    """A worker that beats is alive; a message nobody looked at after it was due is overdue."""
    assert journal.pulse(alive_within=10, overdue_by=0) == ([], 0)
    journal.beat("worker 1")
    hasty(journal).accept([entry("m")])
    assert journal.pulse(alive_within=10, overdue_by=0) == (["worker 1"], 1)
    assert journal.pulse(alive_within=10, overdue_by=10) == (["worker 1"], 0)


def in_state(journal: Journal, wanted: State, id_: str = "m") -> None:
    """Lead a new message to that state, by the way on which it gets there in life."""
    at = datetime.now(UTC) + timedelta(hours=1)
    if wanted in {State.QUEUED, State.SCHEDULED}:
        journal.accept([entry(id_, send_at=at if wanted is State.SCHEDULED else None)])
        return
    if wanted is State.EXPIRED:
        past = datetime.now(UTC) - timedelta(seconds=1)
        journal.accept([entry(id_, expires_at=past)])
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
def test_an_operator_changes_what_the_drawing_allows_and_nothing_else(journal, command, before):
    """From every state: the answer says whether and to what, and asking again changes no more."""
    in_state(journal, before)
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


def test_a_scheduled_message_that_was_held_keeps_its_time(journal):
    """Resumed before it, it waits for it; resumed after it, it goes to the queue."""
    soon = datetime.now(UTC) + timedelta(seconds=0.2)
    journal.accept([entry("m", send_at=soon), entry("n", send_at=soon + timedelta(hours=1))])
    due = journal.read(["n"])[0].due
    journal.hold(["m", "n"])
    wait_until(lambda: datetime.now(UTC) > soon + timedelta(milliseconds=20), 5)
    assert journal.resume(["m", "n"]) == [
        ("m", True, State.QUEUED),
        ("n", True, State.SCHEDULED),
    ]
    assert journal.read(["n"])[0].due == due


def test_a_message_in_doubt_that_was_held_is_in_doubt_again(journal):
    """Holding and resuming everything must not send a second copy early."""
    in_state(journal, State.UNCERTAIN)
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


def test_a_message_that_became_late_while_it_was_held_expires(journal):
    """It is not sent when it is resumed."""
    soon = datetime.now(UTC) + timedelta(milliseconds=100)
    journal.accept([entry("m", expires_at=soon)])
    journal.hold(["m"])
    wait_until(lambda: datetime.now(UTC) > soon + timedelta(milliseconds=20), 5)
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
    assert not journal.settle(claim, SENT)
    assert (journal.read(["m"]), stored(journal)) == ([], [])
    assert journal.release() == []
    assert journal.totals() == {"accepted": 1, "discarded": 1}
    assert not list(journal._client.scan_iter("*:message:*"))
    assert journal.accept([entry("n", idempotency_key="k")]) == [("n", True)]


def test_many_are_changed_in_several_calls(journal):
    """More ids than one call takes, each answered in order."""
    ids = [f"m{n}" for n in range(1201)]
    accepted(journal, *ids)
    assert sorted(journal.scan(State.QUEUED)) == sorted(ids)
    assert journal.hold(ids) == [(id_, True, State.HELD) for id_ in ids]
    assert journal.counts()[State.HELD] == 1201


def test_accepting_durably_waits_for_the_disk(redis_url):
    """With fsync, accept returns when the append-only file holds the messages."""
    journal = Journal(connect(redis_url, 2.0), "q")
    assert journal.accept([entry("m"), entry("n")], fsync=True) == [("m", True), ("n", True)]
    assert journal.accept([entry("m")], fsync=True) == [("m", False)]
    assert journal.server()["aof_enabled"] == 1


def test_ten_thousand_ids_have_one_owner_each(redis_url):
    """Two workers that claim at once share the messages, and no message has two owners."""
    ids = [f"m{n}" for n in range(10_000)]
    client = connect(redis_url, 5.0)
    accepted(Journal(client, "q", POLICY), *ids)
    owned: list[list[str]] = [[], []]

    def work(own: list[str]) -> None:
        journal = Journal(client, "q", POLICY)
        for start in range(0, len(ids), 10):
            claims, _ = journal.claim([(id_, "") for id_ in ids[start : start + 10]])
            own.extend(claim.id for claim in claims)

    threads = [threading.Thread(target=work, args=[own]) for own in owned]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(owned[0] + owned[1]) == sorted(ids)


def test_a_message_joins_a_task_that_waits(journal):
    """The first needs a task; those that come while that waits don't, and are taken with it."""
    assert journal.accept([entry("m")], room=2) == [("m", True)]
    assert journal.accept([entry("n"), entry("o")], room=2) == [("n", False), ("o", False)]
    assert journal.claim([("m", "")])[1] == 1
    claims, left = journal.take(1, begins="m")
    assert ([claim.id for claim in claims], left) == (["n"], 1)
    assert claims[0].payload == "payload of n"
    claims, left = journal.take(5)
    assert ([claim.id for claim in claims], left) == (["o"], 0)
    assert state(journal, "o") is State.SENDING
    assert journal.take(5) == ([], 0)


def test_a_task_has_room_for_so_many(journal):
    """The next one needs a task of its own, which the following join."""
    ids = ["m", "n", "o", "p", "q"]
    answers = [journal.accept([entry(id_)], room=2)[0].needs_task for id_ in ids]
    assert answers == [True, False, False, True, False]


def test_messages_that_come_together_are_named_together(journal):
    """Where one of them needs a task, that names those after it too."""
    assert [a.needs_task for a in journal.accept([entry("m"), entry("n")], room=9)] == [True, True]
    assert journal.take(5, begins="m") == ([], 0)


def test_a_task_that_has_begun_waits_no_more(journal):
    """What is accepted from then on needs another task: the first may be busy for long."""
    journal.accept([entry("m")], room=9)
    journal.take(1, begins="m")
    assert journal.accept([entry("n")], room=9) == [("n", True)]
    journal.take(1)
    assert journal.accept([entry("o")], room=9) == [("o", False)]


def test_a_task_that_begins_ends_nobody_elses_waiting(journal):
    """There is a newer one in the broker by then, which others may join until it begins, too."""
    for id_ in ["m", "n"]:
        journal.accept([entry(id_)], room=0)
    journal.accept([entry("o")], room=1)
    journal.accept([entry("p")], room=1)
    assert journal.accept([entry("q")], room=1) == [("q", True)]  # the newest
    journal.take(0, begins="o")
    assert journal.accept([entry("r")], room=1) == [("r", False)]
    journal.take(0, begins="q")
    assert journal.accept([entry("s")], room=1) == [("s", True)]


def test_what_is_left_is_the_next_tasks(journal):
    """It needs another task only where none is known to wait."""
    for id_ in ["m", "n", "o"]:
        journal.accept([entry(id_)], room=9)
    assert journal.take(1)[1] == 0
    assert journal.take(0, begins="m")[1] == 1


def test_a_task_is_known_to_wait_for_a_second_only(journal, client):
    """It may have been lost; then those that joined it are found by the timer, and no more join."""
    journal.accept([entry("m")], room=9)
    assert 0 < client.pttl("mailqueue:{q}:task:normal") <= 1000
    journal.accept([entry("n")], room=9)
    assert 0 < client.pttl("mailqueue:{q}:task:normal") <= 1000
    client.delete("mailqueue:{q}:task:normal")
    assert journal.accept([entry("o")], room=9) == [("o", True)]


def test_joined_messages_are_taken_by_priority(journal):
    """High before low; each priority has a task of its own to join."""
    low, high = [[entry(f"{p}{n}", priority=p) for n in range(2)] for p in ("low", "high")]
    for one in [*low, *high]:
        journal.accept([one], room=9)
    claims, _ = journal.take(5, begins="m")
    assert [claim.id for claim in claims] == ["high1", "low1"]


def test_what_was_changed_since_it_joined_is_not_taken(journal):
    """Held, cancelled, claimed by its id, gone: it goes its own way."""
    journal.accept([entry("m")], room=9)
    joined = ["held", "cancelled", "claimed", "good"]
    for id_ in joined:
        assert journal.accept([entry(id_)], room=9) == [(id_, False)]
    journal.hold(["held"])
    journal.cancel(["cancelled"])
    claimed(journal, "claimed")
    claims, left = journal.take(5, begins="m")
    assert ([claim.id for claim in claims], left) == (["good"], 0)


def test_what_joined_a_task_that_was_lost_is_released_by_the_timer(journal):
    """It is due after the grace, like any message without a task."""
    journal = hasty(journal)
    journal.accept([entry("m")], room=9)
    journal.accept([entry("n")], room=9)
    assert ids_of(journal.release()) == ["m", "n"]
    claimed(journal, "n")


def test_a_scheduled_message_joins_nothing(journal):
    """Its time comes later, and the timer publishes its task then."""
    at = datetime.now(UTC) + timedelta(hours=1)
    journal.accept([entry("m")], room=9)
    assert journal.accept([entry("n", send_at=at)], room=9) == [("n", False)]
    assert journal.take(5, begins="m") == ([], 0)


def written_before(client: redis.Redis, state: State, **more: object) -> None:
    """A message "m" as an earlier version left it: all fields, and a set for each state."""
    now = int(datetime.now(UTC).timestamp() * 1000)
    fields = {"payload": "payload of m", "digest": "digest of m", "results": "{}", "attempts": 0}
    fields |= {"summary": '{"subject": "about m", "from": "a@x", "to": ["b@x", "c@x"]}'}
    fields |= {"tries_from": 0, "lost": 0, "priority": "normal", "state": state.value}
    fields |= {"created": now, "since": now, "updated": now, "due": now + 30_000, **more}
    client.hset("mailqueue:{q}:message:m", mapping=fields)
    client.zadd(f"mailqueue:{{q}}:state:{state}", {"m": now})
    client.zadd("mailqueue:{q}:due", {"m": fields["due"]})


def in_sets(client: redis.Redis) -> set[str]:
    """The sets of states that name the message."""
    keys = client.scan_iter("mailqueue:{q}:state:*")
    return {key.rpartition(":")[2] for key in keys if client.zscore(key, "m") is not None}


def test_what_an_earlier_version_accepted_is_sent(journal, client):
    """It is listed, claimed, committed and settled like any other."""
    written_before(client, State.QUEUED)
    (record,) = journal.read(["m"])
    assert (record.attempts, record.reply, record.history) == (0, "", ())
    claim = claimed(journal, "m")
    assert (claim.attempt, claim.tries, journal.results_of(claim)) == (1, 1, {})
    assert journal.commit(claim)
    assert journal.settle(claim, SENT)
    assert (state(journal, "m"), in_sets(client)) == (State.SENT, {"sent"})
    assert not client.exists("mailqueue:{q}:due")


def test_what_an_earlier_version_left_to_be_tried_again_is(journal, client):
    """Reply, history and results are there; who got the message is not sent it again."""
    served = {"b@x": Result(State.SENT, "250 ok")}
    written_before(
        client,
        State.RETRYING,
        attempts=1,
        results='{"b@x": {"state": "sent", "reply": "250 ok"}}',
        reply="451 later",
        due=1,
        token="7",
        **{"log:1": '1800000000000 {"state": "retrying", "reply": "451 later", "worker": "w"}'},
    )
    (record,) = journal.read(["m"])
    assert (record.reply, record.history[0].reply) == ("451 later", "451 later")
    assert record.results == served
    claim = claimed(journal, "m")
    assert (claim.attempt, journal.results_of(claim)) == (2, served)
    assert journal.settle(claim, SENT)
    assert journal.read(["m"])[0].reply == "250 ok"


@pytest.mark.parametrize("goes_on", ["settled", "vanished", "repeated"])
def test_what_an_earlier_version_committed_is_in_hand(journal, client, goes_on):
    """Its commit had a set of its own: it is listed, and leaves that one whatever comes next."""
    written_before(client, State.COMMITTING, attempts=1, token="7")
    claim = Claim("m", "7", 1, 1, 0.0, "{}")
    assert list(journal.ids(State.COMMITTING)) == ["m"] == list(journal.scan(State.COMMITTING))
    assert {state: n for state, n in journal.counts().items() if n} == {State.COMMITTING: 1}
    if goes_on == "repeated":
        assert journal.commit(claim)
        assert journal.counts()[State.COMMITTING] == 1
        assert journal.settle(claim, SENT)
    elif goes_on == "settled":
        assert journal.settle(claim, SENT)
    else:
        assert hasty(journal).commit(claim)
        assert journal.release() == []
    after = State.UNCERTAIN if goes_on == "vanished" else State.SENT
    assert (state(journal, "m"), in_sets(client)) == (after, {after.value})
    assert {state: n for state, n in journal.counts().items() if n} == {after: 1}


def test_what_is_in_hand_is_listed_by_the_time_when_it_entered_its_state(journal, client):
    """Sending and committing share a set, and are told apart."""
    accepted(journal, "a", "b", "c")
    claims = {id_: claimed(journal, id_) for id_ in ("a", "b", "c")}
    for id_ in ("c", "a"):
        journal.commit(claims[id_])
        committed = now_on(client)  # which counts in milliseconds
        wait_until(lambda at=committed: now_on(client) - at > timedelta(milliseconds=1), 5)
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


def test_a_full_journal_takes_what_a_worker_has_in_hand_and_nothing_else(client, request):
    """Leases, commits and results go on, each alone in its call; the rest is refused."""
    if isinstance(client, fakeredis.FakeRedis):
        return  # it has no memory limit
    journal = Journal(client, "q", POLICY)
    accepted(journal, "m", "n", "o")
    one, other = journal.claim([("m", ""), ("n", "")])[0]
    request.addfinalizer(lambda: client.config_set("maxmemory", "0"))
    client.config_set("maxmemory", "1")
    assert journal.renew([one, other]) == 2
    assert journal.commit(one)
    assert journal.settle(one, SENT)
    assert journal.advance([Settled(one, SENT)], [other]) == ([True], [True])
    assert journal.settle(other, Settlement(State.RETRYING, "451 later", {}, delay=30))
    for refused in (lambda: journal.accept([entry("p")]), lambda: journal.claim([("o", "")])):
        with pytest.raises(JournalUnavailable, match="maxmemory"):
            refused()
    client.config_set("maxmemory", "0")
    assert [state(journal, id_).value for id_ in "mno"] == ["sent", "retrying", "queued"]
    assert journal.read(["p"]) == []


def test_one_call_may_name_thousands(journal):
    """A set takes them in several parts: Lua can't hand over so many at once."""
    ids = [f"m{n}" for n in range(5000)]
    accepted(journal, *ids)
    claims, looked_at = journal.claim([(id_, "") for id_ in ids])
    assert (len(claims), looked_at) == (5000, 5000)
    assert len({claim.token for claim in claims}) == 5000
    assert journal.renew(claims) == 5000
    assert journal.counts()[State.SENDING] == 5000
    settled = [Settled(claim, SENT) for claim in claims]
    assert journal.advance(settled, [])[0] == [True] * 5000
    assert journal.counts()[State.SENT] == 5000
