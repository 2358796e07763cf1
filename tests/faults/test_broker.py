"""The broker is killed, flushed, full or lies: it only carries the work, the journal keeps it.

Each test names its row of the table of faults. The long versions run by `make faults`.
"""

from __future__ import annotations

import json
import os
import signal
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from mailqueue.monitor.check import check
from mailqueue.monitor.health import health
from mailqueue.queue import payload
from mailqueue.queue.publisher import publish
from tests.faults.long.__main__ import (
    CONFIG,
    broker_killed,
    connections_killed,
    may_be_copied,
    workers_killed,
    workers_killed_and_broker_flushed,
)
from tests.faults.long.rig import OURS, Report, Rig, database
from tests.line import letters, send, states
from tests.patience import within
from tests.proxy import Proxy
from tests.rabbitmq import MISSING, RabbitMQ
from tests.servers import Valkey
from tests.support import wait_until

NEEDS_RABBITMQ = pytest.mark.needs("RabbitMQ", missing=MISSING)
TASKS = "mailqueue\x06\x163"  # where kombu keeps tasks of normal priority
TIMEOUT = 1.0  # seconds, as ENQUEUE_TIMEOUT


# -- under load, as in the long run


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[Valkey]:
    """A Valkey that may be killed."""
    with Valkey(tmp_path / "valkey", config=CONFIG) as server:
        yield server


@pytest.fixture(scope="module")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    """A RabbitMQ node, for all tests here: it takes ten seconds to start."""
    with RabbitMQ(tmp_path_factory.mktemp("rabbitmq")) as node:
        yield node


def tormented(rig: Rig, torment, rounds: int, at_least: int = 300) -> Report:
    """Torment the rig: nothing is lost, all come to their end, only those in doubt are copied."""
    with rig.running():
        torment(rig, rounds)
        wait_until(lambda: len(rig.accepted()) >= at_least, 30)
        found = rig.finish("", rounds)
    assert found.accepted >= at_least
    assert (found.lost, found.unsettled) == (0, 0)
    assert found.copies <= may_be_copied(found)
    # One for each of a killed worker's processes.
    assert found.in_doubt <= found.kills * rig.processes
    return found


@pytest.mark.long
def test_workers_killed_under_load_lose_nothing(tmp_path, redis_url, valkey):
    """Worker: process group `kill -9` at random under 250 messages/s."""
    rig = Rig(OURS, tmp_path / "rig", database(valkey, 1), redis_url)
    tormented(rig, workers_killed, 3)


@pytest.mark.long
def test_a_broker_flushed_under_load_costs_nothing(tmp_path, redis_url, valkey):
    """Broker: `FLUSHDB` of its database, while workers are killed."""
    rig = Rig(OURS, tmp_path / "rig", database(valkey, 1), redis_url)
    tormented(rig, workers_killed_and_broker_flushed, 2)


@pytest.mark.long
def test_connections_killed_under_load_cost_nothing(tmp_path, own_valkey):
    """Broker: all connections killed, those to the journal too."""
    rig = Rig(OURS, tmp_path / "rig", database(own_valkey, 0), database(own_valkey, 0))
    tormented(rig, connections_killed, 5)


@pytest.mark.long
def test_a_server_killed_under_load_costs_nothing(tmp_path, own_valkey):
    """Broker: `kill -9` under load and restart with append-only file; it is the journal too."""
    rig = Rig(OURS, tmp_path / "rig", database(own_valkey, 0), database(own_valkey, 0))
    tormented(rig, broker_killed(own_valkey), 1)


@NEEDS_RABBITMQ
@pytest.mark.long
def test_workers_killed_on_rabbitmq_lose_nothing(tmp_path, redis_url, rabbitmq):
    """Worker: process group `kill -9` under load, with RabbitMQ as the broker."""
    rig = Rig(OURS, tmp_path / "rig", rabbitmq.url, redis_url)
    tormented(rig, workers_killed, 2)


@NEEDS_RABBITMQ
@pytest.mark.long
def test_a_rabbitmq_that_is_killed_and_restarted_costs_nothing(tmp_path, redis_url, rabbitmq):
    """Broker: RabbitMQ killed and restarted, under load; no worker dies, so there is no copy."""

    def torment(rig: Rig, _rounds: int) -> None:
        rig.start_worker()
        wait_until(lambda: len(rig.received()) > 50, 30)
        rabbitmq.kill()
        seen = len(rig.accepted())
        wait_until(lambda: len(rig.accepted()) > seen + 20, 30)  # accepted without a broker
        rabbitmq.start()

    found = tormented(Rig(OURS, tmp_path / "rig", rabbitmq.url, redis_url), torment, 1)
    assert found.copies == 0


# -- one thing at a time


@pytest.fixture
def on_rabbitmq(producer, rabbitmq, queue_settings, monkeypatch, redis_url) -> None:
    """Producer and workers use RabbitMQ, and the journal on Valkey."""
    for name, value in {
        "MAILQUEUE_BROKER_URL": rabbitmq.url,
        "MAILQUEUE_JOURNAL_URL": redis_url,
        "MAILQUEUE_ENQUEUE_TIMEOUT": str(TIMEOUT),
    }.items():
        queue_settings[name] = value
        monkeypatch.setenv(name, value)


def send_in_time() -> None:
    with within(2 * TIMEOUT):
        send(1)


@NEEDS_RABBITMQ
@pytest.mark.usefixtures("on_rabbitmq")
def test_a_rabbitmq_that_is_stopped_at_publish_holds_nobody_up(rabbitmq, start_worker, smtp_server):
    """Broker: RabbitMQ stopped at publish: `send()` bounded, lost 0."""
    send_in_time()  # over a connection that is open from here on
    os.kill(rabbitmq.pid, signal.SIGSTOP)
    try:
        for _ in range(3):
            send_in_time()
    finally:
        os.kill(rabbitmq.pid, signal.SIGCONT)
    worker = start_worker()
    wait_until(lambda: states() == {"sent": 4}, 40, worker.explain)
    assert set(Counter(smtp_server.message_ids()).values()) == {1}


@NEEDS_RABBITMQ
@pytest.mark.usefixtures("on_rabbitmq")
def test_a_rabbitmq_without_memory_holds_nobody_up(rabbitmq, start_worker, smtp_server):
    """Broker: memory alarm, in which RabbitMQ reads nothing from publishers."""
    worker = start_worker()
    rabbitmq.control("set_vm_memory_high_watermark", "0.0000001")
    try:
        for _ in range(5):
            send_in_time()
        with within(2 * TIMEOUT):
            (problem,) = health()["problems"]
        assert "takes no tasks, since RabbitMQ lacks memory" in problem
        broker = next(part for part in check()["checks"] if part["name"] == "broker")
        assert broker["problems"] == [problem]
    finally:
        rabbitmq.control("set_vm_memory_high_watermark", "0.4")
    wait_until(lambda: states() == {"sent": 5}, 60, worker.explain)
    assert health()["problems"] == []
    assert set(Counter(smtp_server.message_ids()).values()) == {1}


@pytest.mark.usefixtures("producer")
def test_a_reply_that_never_reaches_a_killed_worker_costs_nothing(
    start_worker, smtp_server, redis_url, valkey, monkeypatch
):
    """Broker: reply to the worker's fetch held, worker killed: the task is nowhere any more."""
    monkeypatch.setenv("MAILQUEUE_JOURNAL_URL", redis_url)
    with Proxy(valkey.port) as proxy, redis.Redis.from_url(redis_url) as broker:
        worker = start_worker(
            MAILQUEUE_BROKER_URL=f"redis://127.0.0.1:{proxy.port}/0",
            MAILQUEUE_JOURNAL_URL=redis_url,
        )
        wait_until(lambda: waits_for_tasks(broker), 20, worker.explain)
        proxy.hold_replies()
        send(1)
        wait_until(lambda: not broker.exists(TASKS), 20)
        worker.kill()
    assert smtp_server.received == []
    second = start_worker()
    wait_until(lambda: states() == {"sent": 1}, 40, second.explain)
    assert len(smtp_server.received) == 1


def waits_for_tasks(broker: redis.Redis) -> bool:
    return any(client["cmd"] == "brpop" for client in broker.client_list())


@pytest.mark.usefixtures("producer")
def test_a_thousand_doubled_and_forged_tasks_send_one_copy_each(
    start_worker, smtp_server, redis_url, monkeypatch
):
    """Broker: 1,000 doubled tasks; forged tasks, which come first; tasks with unknown ids."""
    monkeypatch.setenv("MAILQUEUE_INLINE_LIMIT", "64KiB")
    messages = send(20)
    with redis.Redis.from_url(redis_url) as broker:
        (task,) = broker.lrange(TASKS, 0, -1)
        broker.delete(TASKS)
        (forgery,) = letters(1, subject="Forged")
        ids = [*(message.mailqueue_id for message in messages[:3]), "unknown"]
        assert publish("mailqueue", [(id_, payload.dumps(forgery, id_)) for id_ in ids])
        (forged,) = broker.lrange(TASKS, 0, -1)
        _, given, _ = json.loads(b64decode(json.loads(forged)["body"]))
        assert all("Forged" in named["payload"] for named in given["messages"])
        broker.lpush(TASKS, *[task] * 1001)
        garbled = json.loads(task) | {"body": b64encode(b"no task at all").decode()}
        unknown = json.loads(task)
        unknown["headers"]["task"] = "os.system"
        broker.lpush(TASKS, json.dumps(garbled), json.dumps(unknown))
    worker = start_worker("-c", "2")
    wait_until(lambda: worker.log.read_text().count(" succeeded in ") >= 1002, 90, worker.explain)
    assert states() == {"sent": 20}
    assert set(Counter(smtp_server.message_ids()).values()) == {1}
    subjects = [str(message.parsed["Subject"]) for message in smtp_server.received]
    assert sorted(subjects) == sorted(message.subject for message in messages)
