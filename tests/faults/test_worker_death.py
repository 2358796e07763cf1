"""Workers that die or are told to stop in the middle of a batch, or lose what they depend on."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import pytest
import redis

from mailqueue.monitor import report
from tests.line import being_sent, end_leases, let_time_pass, send, states
from tests.pools import EACH_POOL
from tests.scripted import ScriptedServer, Session
from tests.servers import Valkey
from tests.support import wait_until

pytestmark = pytest.mark.usefixtures("producer")
TASKS = "mailqueue\x06\x163"  # where kombu keeps tasks of normal priority


def in_the_middle(server, at: int, act) -> None:
    """Act once, when the server has the message number ``at`` and has not replied yet."""
    seen = []

    def hook() -> None:
        seen.append(1)
        if len(seen) == at:
            act()

    server.before_reply = hook


def test_a_child_killed_in_the_middle_of_a_batch_loses_nothing(
    start_worker, smtp_server, redis_url
):
    """All of 200 arrive; the one that was in flight may arrive twice, no other does."""
    worker = start_worker()

    def kill() -> None:
        (child,) = worker.children()
        in_hand = being_sent()
        os.kill(child, signal.SIGKILL)
        wait_until(lambda: child not in worker.children(), 30, worker.explain)
        end_leases(redis_url, ids=in_hand)

    in_the_middle(smtp_server, 50, kill)
    send(200)

    def all_but_one_settled() -> bool:
        return states()["sent"] >= 199 and set(states()) <= {"sent", "uncertain", "committing"}

    wait_until(all_but_one_settled, 60, lambda: f"{states()}\n{worker.explain()}")
    copies = Counter(smtp_server.message_ids())
    assert len(copies) == 200
    assert sum(copies.values()) - 200 <= 1
    # The one whose reply nobody read waits, and is sent again after a long delay.
    assert states()["sent"] in {199, 200}


@EACH_POOL
def test_a_whole_worker_killed_before_the_dot_leaves_no_copy(
    pool, start_worker, smtp_server, redis_url
):
    """Killed with a batch in hand, process group and all: the next worker sends each once."""
    first = start_worker("-P", pool)
    smtp_server.before_rcpt = lambda address: (
        first.kill() if address == "to20@example.com" else None
    )
    send(40)
    wait_until(lambda: first.process.poll() is not None, 20, first.explain)
    end_leases(redis_url)
    second = start_worker("-P", pool)
    wait_until(lambda: states() == {"sent": 40}, 60, lambda: f"{states()}\n{second.explain()}")
    assert set(Counter(smtp_server.message_ids()).values()) == {1}
    assert len(smtp_server.received) == 40


@EACH_POOL
def test_a_worker_told_to_stop_finishes_the_message_in_hand(pool, start_worker, smtp_server):
    """SIGTERM in the middle of a batch: no copy, nothing uncertain, the rest stays queued."""
    first = start_worker("-P", pool)
    in_the_middle(smtp_server, 20, lambda: first.process.send_signal(signal.SIGTERM))
    send(100)
    assert first.process.wait(30) == 0
    assert set(states()) == {"sent", "queued"}
    assert states()["queued"] > 0
    second = start_worker("-P", pool)
    wait_until(lambda: states() == {"sent": 100}, 90, lambda: f"{states()}\n{second.explain()}")
    assert set(Counter(smtp_server.message_ids()).values()) == {1}


@EACH_POOL
def test_a_worker_told_to_stop_leaves_no_message_half_said(pool, start_worker):
    """SIGTERM with the next envelope on the wire: no copy, nothing uncertain, the rest queued."""
    stopped: list[int] = []

    def script(session: Session, phase: str, command: str) -> None:
        if phase == "dot" and len(server.accepted) == 20 and not stopped:
            stopped.append(1)
            first.process.terminate()

    with ScriptedServer(script, features=("PIPELINING",)) as server:
        first = start_worker("-P", pool, EMAIL_PORT=str(server.port))
        send(100)
        assert first.process.wait(30) == 0
        assert set(states()) == {"sent", "queued"}
        second = start_worker("-P", pool, EMAIL_PORT=str(server.port))
        wait_until(lambda: states() == {"sent": 100}, 90, second.explain)
        assert set(Counter(mail.message_id for mail in server.accepted).values()) == {1}


def test_a_worker_group_told_to_stop_makes_no_copy_of_the_message_in_doubt(
    start_worker, smtp_server
):
    """SIGTERM to each process ends the pool's at once: what waits for its reply is uncertain."""
    first = start_worker()

    def stop_all() -> None:
        (child,) = first.children()
        os.killpg(first.process.pid, signal.SIGTERM)
        # Not for the whole worker: it may have started another process, which waits for us.
        wait_until(lambda: not Path(f"/proc/{child}").exists(), 30, first.explain)

    in_the_middle(smtp_server, 5, stop_all)
    messages = send(20)
    wait_until(lambda: first.process.poll() is not None, 40, first.explain)
    # More, where it was another process of the worker's that it waited for.
    wait_until(
        lambda: len(smtp_server.received) >= 5,
        10,
        lambda: f"{len(smtp_server.received)} {smtp_server.errors} {states()}\n{first.explain()}",
    )
    in_hand = report.show(messages[4].mailqueue_id)
    assert in_hand["state"] == "uncertain"
    assert "stopped after the final dot" in in_hand["reply"]
    second = start_worker()
    expected = {"sent": 19, "uncertain": 1}
    wait_until(lambda: states() == expected, 60, lambda: f"{states()}\n{second.explain()}")
    assert set(Counter(smtp_server.message_ids()).values()) == {1}


def test_a_flushed_broker_loses_nothing(start_worker, smtp_server, redis_url):
    """Carried-off tasks are published anew by the workers' timer."""
    send(30)
    with redis.Redis.from_url(redis_url) as broker:
        broker.delete(TASKS, "unacked", "unacked_index")
    let_time_pass(redis_url)
    worker = start_worker()
    wait_until(lambda: states() == {"sent": 30}, 30, lambda: f"{states()}\n{worker.explain()}")
    assert set(Counter(smtp_server.message_ids()).values()) == {1}


def test_doubled_tasks_send_one_copy_each(start_worker, smtp_server, redis_url):
    """A task that comes again finds nothing to send."""
    send(20)
    with redis.Redis.from_url(redis_url) as broker:
        (task,) = broker.lrange(TASKS, 0, -1)
        for _ in range(5):
            broker.lpush(TASKS, task)
    worker = start_worker("-c", "2")
    wait_until(lambda: states() == {"sent": 20}, 30, worker.explain)
    wait_until(lambda: worker.log.read_text().count("succeeded") >= 6, 20, worker.explain)
    assert set(Counter(smtp_server.message_ids()).values()) == {1}


@EACH_POOL
def test_a_mail_server_that_is_away_costs_no_attempt(pool, start_worker, smtp_server, unused_port):
    """Its trouble isn't the message's: it waits, and is sent when the server is back."""
    worker = start_worker("-P", pool, EMAIL_PORT=str(unused_port))
    (message,) = send(1)
    wait_until(
        lambda: "can't connect" in report.show(message.mailqueue_id)["reply"], 20, worker.explain
    )
    record = report.show(message.mailqueue_id)
    assert record["state"] in {"retrying", "queued", "sending"}
    worker.stop()
    second = start_worker("-P", pool)
    wait_until(lambda: states() == {"sent": 1}, 30, second.explain)
    assert report.show(message.mailqueue_id)["attempts"] == 1


def test_our_own_mistake_fails_no_message(start_worker, smtp_server):
    """TLS and SSL at once is a wrong setting, not a bad message: it waits until that is mended."""
    worker = start_worker(EMAIL_USE_TLS="1", EMAIL_USE_SSL="1")
    (message,) = send(1)
    wait_until(
        lambda: "can't open: ValueError" in report.show(message.mailqueue_id)["reply"],
        20,
        worker.explain,
    )
    worker.stop()
    second = start_worker()
    wait_until(lambda: states() == {"sent": 1}, 30, second.explain)
    assert report.show(message.mailqueue_id)["attempts"] == 1


@EACH_POOL
def test_a_result_outlasts_a_journal_that_is_away(
    pool, start_worker, smtp_server, tmp_path, monkeypatch, stack
):
    """Killed between dot and reply, the journal comes back: all are recorded, none is copied."""
    options = {"appendonly": "yes", "appendfsync": "always"}
    server = stack.enter_context(Valkey(tmp_path / "journal", config=options))
    url = server.url
    monkeypatch.setenv("MAILQUEUE_JOURNAL_URL", url)
    worker = start_worker("-P", pool, MAILQUEUE_JOURNAL_URL=url)
    in_the_middle(smtp_server, 5, server.terminate)
    send(20)
    wait_until(lambda: "waits for the journal" in worker.log.read_text(), 30, worker.explain)
    assert len(smtp_server.rcpt_commands) == len(smtp_server.received) == 5  # none was begun since
    server.start()
    end_leases(url)
    wait_until(lambda: states() == {"sent": 20}, 60, worker.explain)
    worker.stop()
    assert sorted(Counter(smtp_server.message_ids()).values()) == [1] * 20


@EACH_POOL
def test_a_421_for_a_reply_to_the_dot_costs_no_attempt(pool, start_worker, smtp_server):
    """The server speaks of itself: the message is sent over the next connection."""
    smtp_server.at_data = ["421 4.3.2 going down"]
    (message,) = send(1)
    worker = start_worker("-P", pool)
    wait_until(lambda: states() == {"sent": 1}, 20, worker.explain)
    assert report.show(message.mailqueue_id)["attempts"] == 1
    assert len(smtp_server.received) == 1


def test_a_worker_does_not_start_on_a_journal_that_evicts(run_command, redis_url, request):
    """It says why, and exits with an error."""
    with redis.Redis.from_url(redis_url) as server:
        server.config_set("maxmemory-policy", "allkeys-lru")
        try:
            result = run_command("worker", "--concurrency", "1")
        finally:
            server.config_set("maxmemory-policy", "noeviction")
    assert result.returncode == 1
    assert "set it to noeviction" in result.stderr
