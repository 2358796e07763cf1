"""What an earlier version of the journal has left."""

from __future__ import annotations

import pytest
import redis

from mailqueue.queue.journal import Claim, Result
from mailqueue.state import State
from tests.contracts.journals import SENT, Clock, claimed, entry, hasty, state


def written_before(client: redis.Redis, clock: Clock, state: State, **more: object) -> None:
    """A message "m" as an earlier version left it: all fields, and a set for each state."""
    now = int(clock.seconds * 1000)
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


def test_what_an_earlier_version_accepted_is_sent(journal, client, clock):
    """It is listed, claimed, committed and settled like any other."""
    written_before(client, clock, State.QUEUED)
    (record,) = journal.read(["m"])
    assert (record.attempts, record.reply, record.history) == (0, "", ())
    claim = claimed(journal, "m")
    assert (claim.attempt, claim.tries, journal.results_of(claim)) == (1, 1, {})
    assert journal.commit(claim)
    assert journal.settle(claim, SENT)
    assert (state(journal, "m"), in_sets(client)) == (State.SENT, {"sent"})
    assert not client.exists("mailqueue:{q}:due")


def test_what_an_earlier_version_left_to_be_tried_again_is(journal, client, clock):
    """Reply, history and results are there; who got the message is not sent it again."""
    served = {"b@x": Result(State.SENT, "250 ok")}
    written_before(
        client,
        clock,
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
def test_what_an_earlier_version_committed_is_in_hand(journal, client, clock, goes_on):
    """Its commit had a set of its own: it is listed, and leaves that one whatever comes next."""
    written_before(client, clock, State.COMMITTING, attempts=1, token="7")
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


def test_what_is_in_hand_is_listed_once_by_its_record(journal, client):
    """A message that both versions' sets name is counted once, and a left-over of a set isn't."""
    journal.accept([entry("m"), entry("n")])
    claimed(journal, "m")
    client.zadd("mailqueue:{q}:state:committing", {"m": 1})
    client.zadd("mailqueue:{q}:state:sending", {"n": 1, "gone": 1})
    assert list(journal.ids(State.SENDING)) == ["m"]
    counts = journal.counts()
    assert (counts[State.SENDING], counts[State.COMMITTING], counts[State.QUEUED]) == (1, 0, 1)
