"""Workers whose own machine is in trouble: without files, memory, or room on a disk."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from mailqueue.monitor import report
from mailqueue.monitor.health import health
from tests.line import let_time_pass, send, states
from tests.support import Worker, wait_until

pytestmark = pytest.mark.usefixtures("producer")
COUNT = 40


def limit(worker: Worker, kind: int, most: Callable[[int], int]) -> Callable[[], None]:
    """Let each process of the worker have that much of it; what is returned takes that back."""
    pids = [worker.process.pid, *worker.children()]
    before = {pid: resource.prlimit(pid, kind) for pid in pids}
    for pid, (_, hard) in before.items():
        resource.prlimit(pid, kind, (most(pid), hard))

    def lift() -> None:
        for pid, limits in before.items():
            resource.prlimit(pid, kind, limits)

    return lift


def explain(worker: Worker) -> Callable[[], str]:
    return lambda: f"{states()}\n{report.find(report.Filter())}\n{worker.explain()}"


def assert_nothing_was_charged(worker: Worker) -> None:
    """Each message was sent at its first attempt that counts, and none was sent twice."""
    found = report.find(report.Filter())
    assert [record["attempts"] for record in found] == [1] * COUNT, worker.explain()


@pytest.mark.parametrize("pool", ["threads", pytest.param("prefork", marks=pytest.mark.long)])
def test_without_a_file_descriptor_nothing_fails(pool, start_worker, smtp_server, redis_url):
    """No message fails or is charged an attempt, the alarm is on, and all goes on by itself."""
    options = ("-P", pool, "-c", "4" if pool == "threads" else "1")
    worker = start_worker(*options, MAILQUEUE_CONNECTION_MAX_MESSAGES="1")
    send(1)
    wait_until(lambda: states() == {"sent": 1}, 20, explain(worker))
    # What is open stays so, but nothing more can be opened.
    lift = limit(worker, resource.RLIMIT_NOFILE, lambda _: 3)
    try:
        send(COUNT - 1)
        wait_until(lambda: told(worker, "Too many open files"), 20, explain(worker))
        assert set(states()) <= {"sent", "queued", "retrying", "sending"}, worker.explain()
        assert states()["sent"] == 1
    finally:
        lift()
    wait_until(lambda: went_on(redis_url), 20, explain(worker))
    assert len(set(smtp_server.message_ids())) == len(smtp_server.message_ids()) == COUNT
    assert_nothing_was_charged(worker)
    assert not told(worker, "")


def told(worker: Worker, of: str) -> bool:
    """Whether health tells that the worker lacks something."""
    return any("the worker lacks" in text and of in text for text in health()["problems"])


def went_on(redis_url: str) -> bool:
    """Whether all were sent; what waits for its time has it now."""
    if states()["retrying"]:
        let_time_pass(redis_url)
    return states() == {"sent": COUNT}


@pytest.mark.long
def test_with_a_full_disk_a_backend_that_writes_files_fails_nothing(
    start_worker, redis_url, tmp_path: Path
):
    """What can't be written waits, with the alarm on, until there is room again."""
    mails = tmp_path / "mails"
    worker = start_worker(
        MAILQUEUE_BACKEND="mailqueue.backends.filebased.EmailBackend", EMAIL_FILE_PATH=str(mails)
    )
    lift = limit(worker, resource.RLIMIT_FSIZE, lambda _: worker.log.stat().st_size + 20000)
    try:
        send(COUNT, body="All of it. " * 10000)
        wait_until(lambda: told(worker, "[Errno 27]"), 20, explain(worker))
        # One that is tried again just now is committing, since a backend is handed whole messages.
        waits = {"queued", "retrying", "sending", "committing"}
        assert set(states()) <= waits, worker.explain()
    finally:
        lift()
    wait_until(lambda: went_on(redis_url), 60, explain(worker))
    assert_nothing_was_charged(worker)
