"""The ready-made Celery application, run from the repository as its README says."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailqueue import send_mail
from tests.servers import RedisServer
from tests.support import NEEDS_REDIS, Worker, wait_until

ROOT = Path(__file__).parents[2]


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[str]:
    """A real Redis as its package configures it but for the directory and the port."""
    with RedisServer(tmp_path) as server:
        yield server.url


@pytest.mark.parametrize(
    "server",
    [
        "redis_url",
        pytest.param("redis_server", marks=NEEDS_REDIS),
    ],
)
def test_it_runs_on_any_redis(
    server: str,
    request: pytest.FixtureRequest,
    smtp_server: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`celery -A workers worker` needs to know the broker and the mail server, nothing else."""
    monkeypatch.setenv("MAILQUEUE_BROKER_URL", request.getfixturevalue(server))
    monkeypatch.setenv("EMAIL_HOST", "127.0.0.1")
    monkeypatch.setenv("EMAIL_PORT", str(smtp_server.port))
    monkeypatch.delenv("MAILQUEUE_HOME")
    celery = Path(sys.executable).with_name("celery")
    worker = Worker(
        [str(celery), "-A", "workers", "worker"], os.environ, cwd=ROOT, log=tmp_path / "worker.log"
    )
    try:
        monkeypatch.setenv("EMAIL_BACKEND", "mailqueue.backends.queue.EmailBackend")
        assert send_mail("Hello", "A letter", "from@example.com", ["to@example.com"]) == 1
        # It doesn't say when it is ready: Celery's own log level is WARNING.
        wait_until(lambda: smtp_server.received, 40, worker.explain)
        assert worker.stop() == 0
    finally:
        worker.kill()
