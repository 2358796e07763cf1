"""A broker whose connections die without a word: workers take tasks again, and can be stopped."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.line import send, states
from tests.pools import EACH_POOL, POOLS
from tests.proxy import Proxy
from tests.servers import Valkey
from tests.support import ROOT, Worker, wait_until

pytestmark = pytest.mark.usefixtures("producer")
# The watchdog's thread publishes too, so the tests' usual half a minute would hold it up.
USUAL = {"MAILQUEUE_ENQUEUE_TIMEOUT": "2s"}
# Seconds that suit a test; twice as many pass until a worker connects anew.
PATIENCE = {"MAILQUEUE_BROKER_PATIENCE": "0.5s", **USUAL}
PROJECT = """
from celery import Celery
app = Celery("project", broker={url!r}, include=["mailqueue.tasks"])
"""
Start = Callable[..., Worker]


@pytest.fixture
def network(valkey: Valkey) -> Iterator[Proxy]:
    """What lies between the workers and their broker; the journal is reached without it."""
    with Proxy(valkey.port) as proxy:
        yield proxy


@pytest.fixture
def start(network: Proxy, start_worker: Start, redis_url: str, tmp_path: Path) -> Start:
    """Start a worker that has sent a message, so that it has all connections that it needs."""

    def started(*options: str, **environment: str) -> Worker:
        url = f"redis://127.0.0.1:{network.port}/0"
        (tmp_path / "project.py").write_text(PROJECT.format(url=url))
        journal = {"MAILQUEUE_BROKER_URL": url, "MAILQUEUE_JOURNAL_URL": redis_url}
        path = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
        worker = start_worker(*options, **journal, **path, **environment)
        send(1)
        wait_until(lambda: states() == {"sent": 1}, 30, worker.explain)
        return worker

    return started


def takes_tasks(worker: Worker, seconds: float) -> None:
    """Send messages by a broker that this process reaches, until one of them is sent.

    The task of one may get lost with a connection, and a timer publishes it again after a minute.
    """
    next_at = 0.0

    def is_one_sent() -> bool:
        nonlocal next_at
        if time.monotonic() >= next_at:
            next_at = time.monotonic() + 1
            send(1)
        return states().get("sent", 0) > 1

    wait_until(is_one_sent, seconds, worker.explain)


@EACH_POOL
def test_a_worker_takes_tasks_again_after_a_loss_that_nobody_told(pool, start, network):
    """Broker: connections dead without a word, then a network that works again."""
    worker = start("-P", pool, **PATIENCE)
    network.fall_silent()
    network.recover()
    takes_tasks(worker, 10)
    assert worker.stop() == 0


@EACH_POOL
def test_a_worker_can_be_stopped_while_its_broker_is_silent(pool, start, network):
    """Broker: silent; SIGTERM ends the worker all the same."""
    worker = start("-P", pool, **PATIENCE)
    network.fall_silent()
    assert worker.stop(15) == 0


@pytest.mark.long
def test_by_default_a_worker_takes_tasks_again_within_half_a_minute(start, network):
    """Broker: connections dead without a word, with the patience that a worker has by itself."""
    worker = start(**USUAL)
    network.fall_silent()
    network.recover()
    takes_tasks(worker, 30)


@pytest.mark.long
@pytest.mark.parametrize("pool", POOLS)
def test_a_projects_worker_without_time_outs_takes_tasks_again_within_a_minute(
    pool, start, network
):
    """Broker: dead without a word, for an application that waits for ever for its answers."""
    worker = start("-P", pool, app="project", **USUAL)
    network.fall_silent()
    network.recover()
    takes_tasks(worker, 60)
    if pool != "gevent":  # where Celery's greenlet for remote control waits on, and the end for it
        network.fall_silent()
        assert worker.stop(60) == 0, worker.explain()
