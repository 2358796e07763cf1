"""Workers that are killed or stopped at a chosen moment, and others that come after them."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count

import pytest

from mailqueue import EmailMessage
from mailqueue.delivery.faultpoint import POINTS
from mailqueue.monitor import control, report
from mailqueue.queue.broker import producer_app
from tests.line import (
    Line,
    being_sent,
    copies,
    end_leases,
    fate,
    give_up_tasks,
    let_time_pass,
    line,
    send,
    states,
    wait_for,
)
from tests.pools import EACH_POOL, ONE_PROCESS
from tests.scripted import SILENCE, ScriptedServer, Session
from tests.support import Worker, wait_until

pytestmark = pytest.mark.usefixtures("producer")
ROUNDS = range(int(os.environ.get("FAULT_ROUNDS", "1")))
_numbers = count()
# In the other pools those that a worker has most.
WAYS = pytest.mark.parametrize(
    ("pool", "features"),
    [
        pytest.param("solo", (), id="one by one"),
        pytest.param("solo", ("PIPELINING",), id="pipelining"),
        pytest.param("solo", ("PIPELINING", "CHUNKING"), id="chunking"),
        pytest.param("threads", ("PIPELINING",), id="threads", marks=pytest.mark.long),
        pytest.param("gevent", ("PIPELINING",), id="gevent", marks=pytest.mark.long),
    ],
)

second_worker = line("nothing-at-first")


@dataclass
class Scene:
    """A queue that nobody works on, the server for its mail, and workers that can be put to it."""

    queue: str
    server: ScriptedServer
    second: Worker
    redis_url: str
    start: Callable[..., Worker]

    def first(self, *options: str, **environment: str) -> Worker:
        """Start the first worker."""
        return self.start(*options, MAILQUEUE_QUEUE=self.queue, **environment)

    def call_second(self) -> None:
        """Have the second worker take the queue too, and what is in the first one's hands."""
        end_leases(self.redis_url, self.queue)
        control = producer_app().control
        (answer,) = control.add_consumer(self.queue, reply=True, timeout=60, limit=1)
        assert "ok" in next(iter(answer.values())), answer

    def let_time_pass(self) -> None:
        """Let everything be due, as it would be hours later."""
        let_time_pass(self.redis_url, self.queue)

    def retry(self, message: EmailMessage) -> None:
        """Have an operator ask for another try, and the timer look for it at once."""
        assert control.retry([message.mailqueue_id]) == [message.mailqueue_id]
        self.let_time_pass()

    def explain(self) -> str:
        return f"{report.find(report.Filter())}\n{self.second.explain()}"


@pytest.fixture
def scene(second_worker: Line, redis_url, queue_settings, monkeypatch, start_worker) -> Scene:
    server = second_worker.as_new(monkeypatch)
    queue = f"scene-{next(_numbers)}"
    monkeypatch.setenv("MAILQUEUE_QUEUE", queue)
    monkeypatch.setitem(queue_settings, "EMAIL_PORT", str(server.port))
    return Scene(queue, server, second_worker.worker, redis_url, start_worker)


def killed(
    scene: Scene, point: str, pool: str = "solo", features: tuple[str, ...] = ("PIPELINING",)
) -> list[EmailMessage]:
    """Three messages whose worker was killed at that point of the first."""
    scene.server.features = features
    first = scene.first("-P", pool, MAILQUEUE_FAULT=f"kill-after:{point}")
    messages = send(3)
    wait_until(lambda: first.process.poll() is not None, 30, first.explain)
    assert first.process.returncode == -signal.SIGKILL
    return messages


def in_state(messages: list[EmailMessage], state: str) -> list[EmailMessage]:
    return [message for message in messages if fate(message)["state"] == state]


def assert_all_is_accounted_for(scene: Scene, messages: list[EmailMessage], doubts: int) -> None:
    """The invariants: one state each, a due time unless that is final, nothing lost, few copies."""
    found = {record["id"]: record for record in report.find(report.Filter())}
    assert found.keys() == {message.mailqueue_id for message in messages}
    final = {"sent", "partial", "failed", "cancelled", "expired"}
    assert all((r["state"] in final) == (r["due"] is None) for r in found.values())
    (queue,) = [q for q in report.status()["queues"] if q["queue"] == scene.queue]
    assert sum(queue["states"].values()) == queue["totals"]["accepted"] == len(messages)
    accepted = copies(scene.server)
    assert len(accepted) >= states()["sent"]
    assert sum(accepted) - len(accepted) <= doubts


@pytest.mark.parametrize("round_", ROUNDS)
@WAYS
@pytest.mark.parametrize("point", POINTS[: POINTS.index("commit")])
def test_killed_before_the_commit_there_are_no_copies(point, pool, features, round_, scene):
    """The next worker sends all of them as soon as the lease has ended, each once."""
    messages = killed(scene, point, pool, features)
    assert scene.server.accepted == []
    scene.call_second()
    wait_until(lambda: states() == {"sent": 3}, 30, scene.explain)
    assert copies(scene.server) == [1, 1, 1]
    assert_all_is_accounted_for(scene, messages, doubts=0)


@pytest.mark.parametrize("round_", ROUNDS)
@WAYS
@pytest.mark.parametrize(("point", "arrived"), [("commit", 0), ("dot", 1), ("reply", 1)])
def test_killed_after_the_commit_there_is_one_copy_at_most(
    point, arrived, pool, features, round_, scene
):
    """The message in hand is uncertain, and sent again when an operator says so; no other is."""
    messages = killed(scene, point, pool, features)
    (hurt,) = in_state(messages, "committing")
    wait_until(lambda: len(scene.server.accepted) == arrived, 10, scene.explain)
    scene.call_second()
    wait_until(lambda: states() == {"sent": 2, "committing": 1}, 30, scene.explain)
    scene.let_time_pass()
    wait_until(lambda: states() == {"sent": 2, "uncertain": 1}, 30, scene.explain)
    assert fate(hurt)["reply"].startswith("the worker vanished after the final dot")
    assert_all_is_accounted_for(scene, messages, doubts=0)
    scene.retry(hurt)
    wait_until(lambda: states() == {"sent": 3}, 30, scene.explain)
    assert sorted(copies(scene.server)) == [1, 1, 1 + arrived]
    assert [h["state"] for h in fate(hurt)["history"]] == ["uncertain", "sent"]
    assert_all_is_accounted_for(scene, messages, doubts=1)


def test_a_message_in_doubt_is_sent_again_when_its_time_has_come(scene):
    """Without an operator: an hour later, with the same Message-ID."""
    killed(scene, "dot")
    scene.call_second()
    wait_until(lambda: states() == {"sent": 2, "committing": 1}, 30, scene.explain)
    scene.let_time_pass()
    wait_until(lambda: states() == {"sent": 2, "uncertain": 1}, 30, scene.explain)
    scene.let_time_pass()
    wait_until(lambda: states() == {"sent": 3}, 30, scene.explain)
    assert sorted(copies(scene.server)) == [1, 1, 2]


@pytest.mark.parametrize("round_", ROUNDS)
@WAYS
def test_killed_after_the_record_there_are_no_copies(pool, features, round_, scene):
    """What is on record as sent stays so; the next one, if it was committed, has not been sent."""
    messages = killed(scene, "settle", pool, features)
    assert fate(messages[0])["state"] == "sent"
    scene.call_second()
    next_ = in_state(messages, "committing")
    assert len(next_) <= 1
    wait_until(lambda: states()["sent"] == 3 - len(next_), 30, scene.explain)
    if next_:
        scene.let_time_pass()
        wait_until(lambda: states()["uncertain"] == 1, 30, scene.explain)
        scene.retry(next_[0])
    wait_until(lambda: states() == {"sent": 3}, 30, scene.explain)
    assert copies(scene.server) == [1, 1, 1]
    assert_all_is_accounted_for(scene, messages, doubts=0)


class StopsOnce:
    """A script that stops a worker's process in that phase, the first time that it comes."""

    def __init__(self, phase: str) -> None:
        self.phase = phase
        self.worker: Worker | None = None

    def __call__(self, session: Session, phase: str, command: str) -> None:
        if phase == self.phase and self.worker is not None:
            self.worker.process.send_signal(signal.SIGSTOP)
            self.worker = None

    def is_done(self) -> bool:
        return self.worker is None


def stopped(scene: Scene, phase: str, number: int, pool: str) -> tuple[Worker, list[EmailMessage]]:
    scene.server.script = script = StopsOnce(phase)
    script.worker = first = scene.first("-P", pool)
    messages = send(number)
    wait_until(script.is_done, 20, first.explain)
    scene.call_second()
    return first, messages


@ONE_PROCESS
def test_stopped_beyond_its_lease_before_the_commit_a_worker_is_fenced(pool, scene):
    """It comes back to find that another has taken over: it sends no dot, and each goes once."""
    first, messages = stopped(scene, "RCPT", 3, pool)

    def are_sent() -> bool:
        give_up_tasks(scene.redis_url, scene.queue)  # the broker may have handed it one
        return states() == {"sent": 3}

    wait_until(are_sent, 30, scene.explain)
    first.process.send_signal(signal.SIGCONT)
    overtaken = "taken over by another worker"
    wait_until(lambda: first.log.read_text().count(overtaken) == 3, 20, first.explain)
    assert copies(scene.server) == [1, 1, 1]
    assert_all_is_accounted_for(scene, messages, doubts=0)


@ONE_PROCESS
def test_stopped_beyond_its_lease_after_the_commit_there_is_one_extra_copy_at_most(pool, scene):
    """The record says that it was in doubt, and the first worker's late result changes nothing."""
    first, messages = stopped(scene, "dot", 1, pool)
    (message,) = messages
    scene.let_time_pass()
    wait_until(lambda: fate(message)["state"] == "uncertain", 20, scene.explain)
    scene.retry(message)
    wait_until(lambda: fate(message)["state"] == "sent", 20, scene.explain)
    before = fate(message)
    first.process.send_signal(signal.SIGCONT)
    late = "its claim ended before its result was recorded"
    wait_until(lambda: late in first.log.read_text(), 20, first.explain)
    assert fate(message) == before
    assert [h["state"] for h in before["history"]] == ["uncertain", "sent"]
    assert copies(scene.server) == [2]
    assert_all_is_accounted_for(scene, messages, doubts=1)


def silent_once(session: Session, phase: str, command: str) -> bytes | None:
    """Accept the first message and never say so."""
    return SILENCE if phase == "dot" and len(session.server.accepted) == 0 else None


@EACH_POOL
def test_killed_while_it_waits_for_a_reply_a_stopping_worker_leaves_one_in_doubt(pool, scene):
    """SIGTERM, and SIGKILL when that takes too long: one is uncertain, the rest isn't copied."""
    scene.server.script = silent_once
    first = scene.first("-P", pool)
    messages = send(3)
    wait_until(lambda: len(scene.server.accepted) == 1, 20, first.explain)
    first.process.terminate()
    wait_until(lambda: "Warm shutdown" in first.log.read_text(), 20, first.explain)
    assert first.process.poll() is None
    first.kill()
    scene.call_second()
    wait_until(lambda: states() == {"sent": 2, "committing": 1}, 30, scene.explain)
    scene.let_time_pass()
    wait_until(lambda: states() == {"sent": 2, "uncertain": 1}, 30, scene.explain)
    assert copies(scene.server) == [1, 1, 1]
    assert_all_is_accounted_for(scene, messages, doubts=0)


def test_an_exception_while_the_reply_is_awaited_leaves_the_message_in_doubt(scene):
    """Whatever it is, here that of a soft time limit: the dot was sent, so it hasn't failed."""
    ends: list[str] = []

    def script(session: Session, phase: str, command: str) -> bytes | None:
        said = silent_once(session, phase, command)
        ends.extend([] if said is None else [phase])
        return said

    scene.server.script = script
    first = scene.first()
    (message,) = send(1)
    wait_until(lambda: ends, 20, first.explain)
    (child,) = first.children()
    for _ in range(5):
        os.kill(child, signal.SIGUSR1)
        # Of 10,000 signals one comes just before Python begins to wait, and doesn't end that.
        with suppress(AssertionError):
            wait_until(scene.server.has_been_left, 5)
            break
    wait_until(lambda: fate(message)["state"] == "uncertain", 20, first.explain)
    assert fate(message)["reply"] == "no reply to the final dot: SoftTimeLimitExceeded()"
    send(1)
    wait_until(lambda: states() == {"sent": 1, "uncertain": 1}, 20, first.explain)
    assert copies(scene.server) == [1, 1]


def test_a_message_that_takes_its_workers_down_fails_after_a_few(scene):
    """As by a memory limit, each time that it is in hand: counted, kept, and no other suffers."""
    deaths: list[int] = []

    def script(session: Session, phase: str, command: str) -> None:
        if phase == "RCPT" and "to1@" in command:
            (child,) = first.children()
            deaths.append(child)
            in_hand = being_sent(scene.queue)
            os.kill(child, signal.SIGKILL)
            wait_until(lambda: child not in first.children(), 30, first.explain)
            end_leases(scene.redis_url, scene.queue, in_hand)

    scene.server.script = script
    first = scene.first()
    messages = send(4)
    wait_until(lambda: states() == {"sent": 3, "failed": 1}, 60, first.explain)
    assert len(set(deaths)) == 5
    record = fate(messages[1])
    assert [h["reply"] for h in record["history"]] == ["the worker vanished while sending"] * 5
    assert (record["state"], record["attempts"]) == ("failed", 5)
    assert copies(scene.server) == [1, 1, 1]
    # Its payload is kept: where whatever it was is mended, it can be sent.
    scene.server.script = lambda *_: None
    scene.retry(messages[1])
    wait_until(lambda: states() == {"sent": 4}, 20, first.explain)
    assert_all_is_accounted_for(scene, messages, doubts=0)


BROKEN_HOOKS = """
import logging
from celery import signals
from mailqueue.celery import create_app

app = create_app()

@signals.task_success.connect
@signals.task_postrun.connect
def hook(**_):
    raise RuntimeError("a hook of the project")

class Handler(logging.Handler):
    def emit(self, record):
        if " after attempt " in record.getMessage():
            raise RuntimeError("a handler of the project")

logging.getLogger("mailqueue").addHandler(Handler())
"""
broken_hooks = line("broken-hooks", project=BROKEN_HOOKS)


@pytest.mark.parametrize("features", [(), ("PIPELINING",)], ids=["one by one", "pipelining"])
def test_an_exception_in_a_projects_hook_comes_too_late_to_do_harm(
    features, broken_hooks, redis_url, monkeypatch
):
    """After the 250, and the result is on record already: one copy, and nothing fails for it."""
    server = broken_hooks.as_new(monkeypatch)
    server.features = features
    messages = send(5)
    wait_for({"sent": 5})
    assert Counter(copies(server)) == {1: 5}
    assert {fate(message)["attempts"] for message in messages} == {1}
