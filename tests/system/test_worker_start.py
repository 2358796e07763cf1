"""How a worker starts: what it refuses, which queues it looks after, and how it starts anew."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from mailqueue.monitor import report
from mailqueue.queue.journal import open_journal
from mailqueue.worker.signals import check_backend
from tests.line import send, states
from tests.support import ROOT, Worker, wait_until

pytestmark = pytest.mark.usefixtures("producer")


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"MAILQUEUE_BACKEND": "nowhere.EmailBackend"}, "'nowhere.EmailBackend'"),
        ({"MAILQUEUE_BACKEND": "mailqueue.backends.smtp.Backend"}, "smtp.Backend'"),
        ({"MAILQUEUE_BACKEND": "mailqueue.backends.queue.EmailBackend"}, "the queue backend"),
        ({"MAILQUEUE_USING": "bulk"}, "'bulk'"),
        (
            {"MAILQUEUE_USING": "bulk", "MAILERS": '{"bulk": {"BACKEND": "nowhere.Backend"}}'},
            "MAILERS['bulk']: Could not find BACKEND 'nowhere.Backend'",
        ),
    ],
    ids=str,
)
def test_a_worker_refuses_to_start_without_a_backend(environment, named, monkeypatch):
    """All mail would wait for a class that is nowhere."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as refused:
        check_backend()
    assert named in str(refused.value)


def test_a_worker_that_refuses_to_start_ends_with_1():
    """So that whoever looks after it sees it."""
    done = subprocess.run(
        [sys.executable, "-m", "mailqueue", "worker", "-c", "1"],
        env=os.environ | {"MAILQUEUE_BACKEND": "nowhere.EmailBackend"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "MAILQUEUE['BACKEND'] = 'nowhere.EmailBackend'" in done.stderr


def test_a_worker_looks_after_the_queues_that_it_takes(start_worker, redis_url):
    """With `-Q`, it takes what was asked, and doesn't say that somebody takes the others."""
    send(1)
    send(1, queue="bulk")
    worker = start_worker("-Q", "bulk")
    wait_until(lambda: states()["sent"] == 1, 30, worker.explain)
    wait_until(lambda: report.status_of(open_journal("bulk"))["workers"], 30, worker.explain)
    assert report.status_of(open_journal())["workers"] == []
    assert states() == {"sent": 1, "queued": 1}


def test_a_hang_up_starts_a_worker_anew(queue_settings, tmp_path, smtp_server):
    """It has the same process id; what was in the middle is sent once."""
    command = [sys.executable, "-m", "mailqueue", "worker", "-c", "1", "-l", "INFO"]
    settings = {**os.environ, **queue_settings}
    worker = Worker([*command, "--without-mingle"], settings, cwd=ROOT, log=tmp_path / "log")
    try:
        wait_until(worker.is_ready, 30, worker.explain)
        send(30)
        wait_until(lambda: smtp_server.received, 30, worker.explain)
        worker.process.send_signal(signal.SIGHUP)
        wait_until(lambda: worker.log.read_text().count(" ready.") == 2, 60, worker.explain)
        send(1)
        wait_until(lambda: states() == {"sent": 31}, 60, worker.explain)
        assert len(smtp_server.received) == 31
        assert worker.stop() == 0
    finally:
        worker.kill()
