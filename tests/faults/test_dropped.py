"""Networks that drop packets: programs go on, workers come back, and each mail is sent once."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from mailqueue.monitor.health import health
from mailqueue.testing import RecordingServer
from tests.line import send, states
from tests.namespace import NEEDS_NAMESPACE, drop, forget, let_through, own_network
from tests.patience import within
from tests.rabbitmq import MISSING, RabbitMQ
from tests.servers import Valkey
from tests.support import ROOT, Worker, wait_until

pytestmark = [NEEDS_NAMESPACE, pytest.mark.long]
NEEDS_RABBITMQ = pytest.mark.needs("RabbitMQ", missing=MISSING)
BROKERS = ["redis", pytest.param("rabbitmq", marks=NEEDS_RABBITMQ)]
POOLS = ["prefork", "threads"]
TIMEOUT = 1.0  # seconds, as ENQUEUE_TIMEOUT


class Rig:
    """Journal, broker, mail server and a worker, in a network of their own."""

    def __init__(self, stack: ExitStack, directory: Path, broker: str) -> None:
        journal = stack.enter_context(Valkey(directory / "journal", appendonly="yes"))
        self.smtp = stack.enter_context(RecordingServer())
        kind: Any = RabbitMQ if broker == "rabbitmq" else Valkey
        served = stack.enter_context(kind(directory / "broker"))
        self.ports = {
            "journal": journal.port,
            "broker": served.port,
            "mail server": self.smtp.port,
        }
        self.environment = {
            "EMAIL_BACKEND": "mailqueue.backends.queue.EmailBackend",
            "EMAIL_HOST": "127.0.0.1",
            "EMAIL_PORT": str(self.smtp.port),
            "MAILQUEUE_JOURNAL_URL": journal.url,
            "MAILQUEUE_BROKER_URL": served.url,
            "MAILQUEUE_ENQUEUE_TIMEOUT": str(TIMEOUT),
        }
        self._log = directory / "worker.log"
        self._stack = stack

    def start(self, pool: str) -> Worker:
        """Start a worker, not from the nursery, which is in the other network."""
        options = ["-c", "1", "-P", pool, "-l", "INFO", "--without-mingle"]
        command = [sys.executable, "-m", "celery", "-A", "workers", "worker", *options]
        worker = Worker(command, {**os.environ, **self.environment}, ROOT, self._log)
        self._stack.callback(worker.kill)
        wait_until(worker.is_ready, 30, worker.explain)
        return worker


@pytest.fixture(params=BROKERS)
def rig(
    request: pytest.FixtureRequest, stack: ExitStack, tmp_path: Path, monkeypatch: Any
) -> Iterator[Rig]:
    with own_network(), ExitStack() as inside:
        found = Rig(inside, tmp_path, request.param)
        for name, value in found.environment.items():
            monkeypatch.setenv(name, value)
        yield found


def is_sent(rig: Rig, count: int) -> bool:
    """Whether so many were, and each once."""
    ids = rig.smtp.message_ids()
    assert len(set(ids)) == len(ids)
    return len(ids) == count and states() == {"sent": count}


@pytest.mark.parametrize("pool", POOLS)
def test_mail_moves_within_a_minute_of_connections_that_a_firewall_forgot(rig: Rig, pool: str):
    """All of them at once; `send()` goes on, and the worker can be stopped."""
    worker = rig.start(pool)
    send(1)
    wait_until(lambda: is_sent(rig, 1), 30, worker.explain)
    for port in rig.ports.values():
        forget(port)
    for _ in range(2):
        with within(3 * TIMEOUT):
            send(1)
    wait_until(lambda: is_sent(rig, 3), 60, worker.explain)
    assert worker.stop() == 0


@pytest.mark.parametrize("pool", POOLS)
def test_mail_moves_within_a_minute_of_a_brokers_return(rig: Rig, pool: str):
    """While it is away `health` says so, and `send()` accepts."""
    worker = rig.start(pool)
    send(1)
    wait_until(lambda: is_sent(rig, 1), 30, worker.explain)
    drop(rig.ports["broker"])
    with within(6 * TIMEOUT):
        send(1)
        send(1)
    assert any("the broker can't be reached" in problem for problem in health()["problems"])
    wait_until(lambda: "Connection to broker lost" in worker.explain(), 60, worker.explain)
    let_through(rig.ports["broker"])
    wait_until(lambda: is_sent(rig, 3), 60, worker.explain)
    drop(rig.ports["broker"])
    assert worker.stop(60) == 0
