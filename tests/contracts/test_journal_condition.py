"""A journal that answers and takes no writes is named for what it is, and left for the next."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from mailqueue.errors import JournalUnavailable
from mailqueue.monitor.health import health
from mailqueue.queue.journal import Journal, open_journal
from mailqueue.store.client import condition, connect
from tests.contracts.journals import REAL_SERVERS, entry
from tests.ports import HeldPort
from tests.proxy import Proxy
from tests.servers import Valkey


def configured(**options: object) -> Callable[[redis.Redis], Iterator[None]]:
    def change(client: redis.Redis) -> Iterator[None]:
        before = {name: client.config_get(name)[name] for name in options}
        for name, value in options.items():
            client.config_set(name, value)
        yield
        for name, value in before.items():
            client.config_set(name, value)

    return change


def replica(client: redis.Redis) -> Iterator[None]:
    held = HeldPort()
    client.replicaof("127.0.0.1", held.number)
    yield
    client.replicaof("NO", "ONE")
    held.release()


CONDITIONS = {
    "full": (configured(maxmemory=1), "full", "maxmemory"),
    "a replica": (replica, "replica", "primary"),
    "short of replicas": (configured(**{"min-replicas-to-write": 3}), "short", "min-replicas"),
}


@pytest.mark.parametrize("client", REAL_SERVERS, indirect=True)
@pytest.mark.parametrize("name", CONDITIONS)
def test_a_server_that_takes_no_writes_is_named_for_what_it_is(name, client):
    """By the probe and by the error of an accept; and it is well when that is over."""
    change, state, remedy = CONDITIONS[name]
    journal = Journal(client, "q")
    journal.accept([entry("before")])
    with contextmanager(change)(client):
        found = condition(client)
        assert found is not None
        assert found.state.startswith(state)
        assert remedy in journal.obstacle()
        with pytest.raises(JournalUnavailable, match=remedy):
            journal.accept([entry("m")])
        assert not journal.read(["m"])
    assert condition(client) is None
    assert journal.obstacle() == ""


def test_a_disk_that_takes_nothing_is_named(tmp_path: Path):
    """A server that could not save refuses writes by MISCONF."""
    directory = tmp_path / "valkey"
    with Valkey(directory, appendonly="yes", save="3600 1") as server:
        client = connect(server.url, 30.0)
        client.config_set("rdbcompression", "no")
        shutil.rmtree(directory)  # for root as for anybody else, a directory that is gone is gone
        client.bgsave()
        while client.info("persistence")["rdb_last_bgsave_status"] == "ok":
            pass
        found = condition(client)
        assert found is not None
        assert found.state == "read-only"
        assert "disk" in Journal(client, "q").obstacle()


def test_health_names_a_full_journal_and_asks_for_no_worker(redis_url, monkeypatch):
    """While a worker runs, its beat can't be written either."""
    monkeypatch.setenv("MAILQUEUE_BROKER_URL", redis_url)
    client = connect(redis_url, 30.0)
    with contextmanager(configured(maxmemory=1))(client):
        (problem,) = health()["problems"]
    assert "full" in problem
    assert "maxmemory" in problem
    open_journal().beat("here:1")
    assert health()["problems"] == []


def test_a_former_primary_is_left_for_the_new_one(tmp_path: Path, valkey: Valkey):
    """Connections that are open lead to the former primary; its name leads to the new one."""
    with Valkey(tmp_path / "valkey", appendonly="yes") as former, Proxy(former.port) as name:
        journal = Journal(connect(f"redis://127.0.0.1:{name.port}/0", 30.0), "q")
        journal.accept([entry("before")])
        journal.server()  # over a connection of redis-py's own
        with redis.Redis.from_url(former.url) as client:
            client.replicaof("127.0.0.1", valkey.port)
            name.lead_to(valkey.port)
            with pytest.raises(JournalUnavailable, match="replica"):
                journal.accept([entry("m")])
            assert journal.accept([entry("m")]) == [("m", True)]
            assert journal.obstacle() == ""
            client.replicaof("NO", "ONE")
