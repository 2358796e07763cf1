"""The servers that the contracts are held against, besides the Valkey of all tests."""

from __future__ import annotations

from collections.abc import Iterator

import fakeredis
import pytest
import redis

from mailqueue.queue.journal import Journal
from mailqueue.store.client import connect
from tests.contracts.journals import POLICY, REAL_SERVERS, Clock
from tests.servers import RedisServer


@pytest.fixture(scope="session")
def real_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Redis."""
    with RedisServer(tmp_path_factory.mktemp("redis"), "--appendonly", "yes") as server:
        yield server.url


@pytest.fixture(params=[*REAL_SERVERS, "fakeredis"])
def client(request: pytest.FixtureRequest) -> Iterator[redis.Redis]:
    """An empty database on the server that the parameter names."""
    if request.param == "fakeredis":
        # It differs in this: nothing is kept on a disk (WAITAOF), and a script isn't atomic
        # against other threads, so that the tests of either stay with the real servers.
        yield fakeredis.FakeRedis(decode_responses=True)
        return
    fixture = {"valkey": "redis_url", "redis": "real_redis"}[request.param]
    found = connect(request.getfixturevalue(fixture), 30.0)
    found.flushall()
    yield found
    found.close()


@pytest.fixture
def clock(client: redis.Redis) -> Clock:
    """The only time that the journal and the breakers of the test know."""
    return Clock(client)


@pytest.fixture
def journal(client: redis.Redis, clock: Clock) -> Journal:
    """A journal that is on the clock, and whose times don't end by themselves."""
    return clock.on(Journal(client, "q", POLICY))
