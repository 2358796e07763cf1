"""What the journal asks of its server, and how much it takes at once."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
import redis

from mailqueue.errors import ImproperlyConfigured, JournalUnavailable
from mailqueue.queue.journal import Journal, SettledClaim, Settlement, now_on
from mailqueue.queue.journal.reader import known_queues
from mailqueue.state import State
from mailqueue.store.client import connect
from tests.contracts.journals import POLICY, REAL_SERVERS, SENT, accepted, entry, state
from tests.support import NEEDS_REDIS


def test_a_record_has_its_times_from_the_servers_own_clock(client):
    """Not from that of the process, which may go wrong; and the grace is added to it."""
    journal = Journal(client, "q")
    before = now_on(client) - timedelta(milliseconds=1)  # the journal knows no microseconds
    accepted(journal, "m")
    (record,) = journal.read(["m"])
    assert before <= record.created <= now_on(client)
    assert record.due - record.created == timedelta(seconds=5)


@pytest.mark.parametrize("client", REAL_SERVERS, indirect=True)  # fakeredis evicts nothing
def test_a_server_that_evicts_is_refused(client, request):
    """Before anything is accepted; a policy that spares what has no expiry is not."""
    client.config_set("maxmemory-policy", "allkeys-lru")
    request.addfinalizer(lambda: client.config_set("maxmemory-policy", "noeviction"))
    with pytest.raises(ImproperlyConfigured, match="allkeys-lru"):
        Journal(client, "q").accept([entry("m")])
    assert list(client.scan_iter()) == []


def test_a_queue_is_known_again_after_the_database_was_flushed(client):
    """A program that lives on tells the timers of its queue with the next message."""
    journal = Journal(client, "q")
    accepted(journal, "m")
    client.flushdb()
    accepted(journal, "n")
    assert known_queues(client) == {"q"}


def test_a_queue_is_known_again_though_the_answer_that_said_so_was_lost(client, monkeypatch):
    """What was accepted is no news any more, so whoever lost an answer tells in any case."""
    journal = Journal(client, "q")
    accepted(journal, "m")
    client.flushdb()
    with monkeypatch.context() as patch:
        patch.setattr("mailqueue.queue.journal.journal.read_accepted", interrupted)
        with pytest.raises(KeyboardInterrupt):
            accepted(journal, "n")
    assert journal.accept([entry("n")])[0].id == "n"
    assert known_queues(client) == {"q"}


def interrupted(_reply: object) -> None:
    """What is called in place of whatever reads an answer."""
    raise KeyboardInterrupt


def test_what_was_accepted_stays_so_where_its_queue_can_not_be_made_known(client, monkeypatch):
    """The program isn't told of a failure, and makes up for it with its next message."""
    journal = Journal(client, "q")
    accepted(journal, "m")
    client.flushdb()
    with monkeypatch.context() as patch:
        patch.setattr(client, "sadd", unreachable)
        accepted(journal, "n")
    assert known_queues(client) == set()
    accepted(journal, "o")
    assert known_queues(client) == {"q"}


def unreachable(*_arguments: object) -> None:
    """What is called in place of a command to a server that has gone."""
    raise redis.ConnectionError("it has gone")


@NEEDS_REDIS
def test_a_server_that_can_not_tell_when_it_has_synced_is_refused(real_redis):
    """Redis before 7.2 has no WAITAOF; newer ones and Valkey do."""
    client = connect(real_redis, 30.0)
    client.flushall()
    version = tuple(map(int, client.info()["redis_version"].split(".")[:2]))
    journal = Journal(client, "q")
    if version >= (7, 2):
        assert journal.accept([entry("m")], fsync=True) == [("m", True)]
        return
    with pytest.raises(ImproperlyConfigured, match="fsync"):
        journal.accept([entry("m")], fsync=True)
    assert list(client.scan_iter()) == []


def test_accepting_durably_waits_for_the_disk(redis_url):
    """With fsync, accept returns when the append-only file holds the messages."""
    journal = Journal(connect(redis_url, 30.0), "q")
    assert journal.accept([entry("m"), entry("n")], fsync=True) == [("m", True), ("n", True)]
    assert journal.accept([entry("m")], fsync=True) == [("m", False)]
    assert journal.server()["aof_enabled"] == 1


def test_ten_thousand_ids_have_one_owner_each(redis_url):
    """Two workers that claim at once share the messages, and no message has two owners."""
    ids = [f"m{n}" for n in range(10_000)]
    client = connect(redis_url, 30.0)
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


@pytest.mark.parametrize("client", REAL_SERVERS, indirect=True)  # fakeredis has no memory limit
def test_a_full_journal_takes_what_a_worker_has_in_hand_and_nothing_else(client, request):
    """Leases, commits and results go on, each alone in its call; the rest is refused."""
    journal = Journal(client, "q", POLICY)  # not on a clock, whose notes may need room
    accepted(journal, "m", "n", "o")
    one, other = journal.claim([("m", ""), ("n", "")])[0]
    request.addfinalizer(lambda: client.config_set("maxmemory", "0"))
    client.config_set("maxmemory", "1")
    assert journal.renew([one, other]) == 2
    assert journal.commit(one)
    assert journal.settle(one, SENT)
    assert journal.advance([SettledClaim(one, SENT)], [other]) == ([True], [True], 0)
    assert journal.settle(other, Settlement(State.RETRYING, "451 later", {}, delay=30))
    for refused in (lambda: journal.accept([entry("p")]), lambda: journal.claim([("o", "")])):
        with pytest.raises(JournalUnavailable, match="maxmemory"):
            refused()
    client.config_set("maxmemory", "0")
    assert [state(journal, id_).value for id_ in "mno"] == ["sent", "retrying", "queued"]
    assert journal.read(["p"]) == []


@pytest.mark.parametrize("client", REAL_SERVERS, indirect=True)  # the limit is their Lua's
def test_one_call_may_name_thousands(journal):
    """A set takes them in several parts: Lua can't hand over thousands at once."""
    ids = [f"m{n}" for n in range(5000)]
    accepted(journal, *ids)
    claims, looked_at = journal.claim([(id_, "") for id_ in ids])
    assert (len(claims), looked_at) == (5000, 5000)
    assert len({claim.token for claim in claims}) == 5000
    assert journal.renew(claims) == 5000
    assert journal.counts()[State.SENDING] == 5000
    settled = [SettledClaim(claim, SENT) for claim in claims]
    assert journal.advance(settled, [])[0] == [True] * 5000
    assert journal.counts()[State.SENT] == 5000
