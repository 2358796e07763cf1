"""The servers that the contracts are held against, besides the Valkey of all tests."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import fakeredis
import pytest
import redis

from mailqueue.journal import Journal, connect
from tests.contracts.journals import POLICY, REAL_SERVERS, Clock
from tests.support import REDIS_SERVER, wait_until


@pytest.fixture(scope="session")
def real_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Redis, on a Unix socket."""
    directory: Path = tmp_path_factory.mktemp("redis")
    path = directory / "redis.sock"
    command = [REDIS_SERVER, "--port", "0", "--unixsocket", path, "--dir", directory]
    with subprocess.Popen([*command, "--appendonly", "yes"], stdout=subprocess.DEVNULL) as server:
        client = redis.Redis(unix_socket_path=str(path))

        def answers() -> bool:
            try:
                return client.ping()
            except redis.ConnectionError:
                return False

        wait_until(answers, 30)
        client.close()
        yield f"unix://{path}"
        server.terminate()


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
