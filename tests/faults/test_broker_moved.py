"""A broker that refuses for a while what a worker needs: the worker goes on when that is over."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from kombu import Connection

from tests.line import send, states
from tests.proxy import Proxy
from tests.rabbitmq import MISSING, RabbitMQ
from tests.servers import Valkey
from tests.support import wait_until

pytestmark = pytest.mark.usefixtures("producer")


@pytest.fixture
def former(tmp_path: Path) -> Iterator[Valkey]:
    """A Valkey that becomes a replica."""
    with Valkey(tmp_path / "former", appendonly="yes") as server:
        yield server


def test_a_worker_follows_its_broker_from_the_former_primary(
    former, valkey, start_worker, smtp_server, redis_url
):
    """Broker: a primary becomes a replica, and its name leads to the new one."""
    with Proxy(former.port) as name, redis.Redis.from_url(former.url) as control:
        worker = start_worker(
            MAILQUEUE_BROKER_URL=f"redis://127.0.0.1:{name.port}/1",
            MAILQUEUE_JOURNAL_URL=redis_url,
        )
        control.replicaof("127.0.0.1", valkey.port)
        wait_until(lambda: "read only replica" in worker.log.read_text(), 20, worker.explain)
        assert worker.process.poll() is None, worker.explain()
        name.lead_to(valkey.port)
        send(1)
        wait_until(lambda: states() == {"sent": 1}, 30, worker.explain)
        control.replicaof("NO", "ONE")
        assert worker.stop() == 0


@pytest.mark.long
@pytest.mark.needs("RabbitMQ", missing=MISSING)
def test_a_worker_waits_for_a_queue_that_a_dead_connection_locks(
    start_worker, smtp_server, redis_url, tmp_path, monkeypatch
):
    """Broker: RabbitMQ answers RESOURCE_LOCKED until it notices that the connection is dead."""
    with RabbitMQ(tmp_path / "rabbitmq") as node, Connection(node.url) as dead:
        for name, value in {"BROKER_URL": node.url, "JOURNAL_URL": redis_url}.items():
            monkeypatch.setenv(f"MAILQUEUE_{name}", value)
        dead.channel().queue_declare("celery@here.celery.pidbox", exclusive=True, auto_delete=True)

        def notice() -> None:
            wait_until(lambda: any("RESOURCE_LOCKED" in log.read_text() for log in logs()), 30)
            dead.release()

        def logs() -> list[Path]:
            return [*tmp_path.glob("worker-*.log")]

        server = threading.Thread(target=notice)
        server.start()
        worker = start_worker(
            *("-n", "celery@here"), MAILQUEUE_BROKER_URL=node.url, MAILQUEUE_JOURNAL_URL=redis_url
        )
        server.join()
        send(1)
        wait_until(lambda: states() == {"sent": 1}, 30, worker.explain)
        assert worker.stop() == 0
