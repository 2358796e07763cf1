"""The servers that the contracts are held against, besides the Valkey of all tests."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

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

        wait_until(answers, 10)
        client.close()
        yield f"unix://{path}"
        server.terminate()
