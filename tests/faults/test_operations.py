"""What operators do while mail flows: records removed, and workers replaced one by one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mailqueue import get_connection
from mailqueue.monitor import control, report
from mailqueue.queue.journal import open_journal
from mailqueue.state import State
from tests.line import fate, letters, states
from tests.support import ROOT, Worker, wait_until

pytestmark = pytest.mark.usefixtures("producer")
FINAL = [state for state in State if state.final]
COUNT = 300


def totals() -> Counter[str]:
    (queue,) = report.status()["queues"]
    return Counter(queue["totals"])


def test_records_removed_under_load_are_those_of_what_has_ended(start_worker, smtp_server):
    """By `purge` and by retention: mail goes on, and what waits, is held or scheduled stays."""
    messages = letters(COUNT)
    for message in messages[::10]:
        smtp_server.replies[message.to[0]] = ["451 later"]
    for message in messages[5::10]:
        smtp_server.replies[message.to[0]] = ["550 never"] * 5
    held, scheduled = letters(2, to=["kept@example.com"])
    scheduled.send_at = datetime.now(UTC) + timedelta(days=1)
    get_connection().send_messages([held, scheduled])
    open_journal().hold([held.mailqueue_id])
    worker = start_worker()
    get_connection().send_messages(messages)
    removed: Counter[str] = Counter()

    def purged() -> bool:
        removed.update(control.purge(FINAL, 0))
        return sum(removed.values()) == COUNT

    wait_until(purged, 60, lambda: f"{removed} {states()}\n{worker.explain()}")
    failed = COUNT // 10
    assert removed == Counter(sent=COUNT - failed, failed=failed)
    assert totals() == Counter(accepted=COUNT + 2, sent=COUNT - failed, failed=failed)
    assert set(Counter(smtp_server.message_ids()).values()) == {1}
    assert len(smtp_server.received) == COUNT - failed
    assert states() == {"held": 1, "scheduled": 1}
    worker.stop()
    # Retention: a worker's timer removes by age, and nothing but what was sent.
    open_journal().resume([held.mailqueue_id])
    first = start_worker()
    wait_until(lambda: states() == {"sent": 1, "scheduled": 1}, 20, first.explain)
    second = start_worker(MAILQUEUE_KEEP_SENT="1ms")
    wait_until(lambda: states() == {"scheduled": 1}, 20, second.explain)
    assert fate(scheduled)["state"] == "scheduled"


def git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True).stdout


# The journal's script, wherever it was and in how many files: what versions have to agree on.
SCRIPT = ":(glob)mailqueue/**/journal/**/*.lua"
# Some changes move text only, and a deployment skips several.
CHANGES = 5


def before_the_last_changes(path: str, changes: int) -> str:
    """The commit before the last ones that changed that; empty where history is too short."""
    *_, first = git("log", f"-{changes}", "--format=%H", "--", path).decode().split() or [""]
    return git("rev-parse", "--quiet", "--verify", f"{first}^").decode().strip()


OLDER = before_the_last_changes(SCRIPT, CHANGES)


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """The programs as they were before the journal's script was changed lately."""
    place = tmp_path / "older"
    place.mkdir()
    # Not by tarfile: before Python 3.11.4 it has no filter, and later ones warn without.
    archive = git("archive", OLDER, "mailqueue", "workers")
    subprocess.run(["tar", "-x", "-C", place], input=archive, check=True)
    return place


SEND = """
import sys
import mailqueue
from mailqueue import EmailMessage, get_connection

checkout, first = sys.argv[1], int(sys.argv[2])
assert mailqueue.__file__.startswith(checkout), mailqueue.__file__
everyone = [f"old{n}@example.com" for n in range(first, first + 100)]
get_connection().send_messages(
    [EmailMessage("Old", "", "a@example.com", [address]) for address in everyone]
)
"""


@pytest.mark.needs("git's history", missing="" if OLDER else "the clone is shallow")
def test_workers_of_two_versions_share_a_queue(
    older, start_worker, queue_settings, smtp_server, tmp_path
):
    """Workers from before the journal's last changes and of today: each message once.

    As while a deployment is under way, workers first: programs send by the format of before until
    the last of those workers has ended. Some messages are refused for now, so that one version's
    worker goes on where the other's left off.
    """
    environment = {**os.environ, **queue_settings, "MAILQUEUE_BATCH_SIZE": "5"}
    for n in range(0, 200, 10):
        smtp_server.replies[f"old{n}@example.com"] = ["451 later"]

    def send_by_older(first: int) -> None:
        command = [sys.executable, "-c", SEND, str(older), str(first)]
        subprocess.run(command, env=environment, cwd=older, check=True)

    send_by_older(0)
    command = [sys.executable, "-m", "celery", "-A", "workers", "worker", "-c", "1", "-l", "INFO"]
    old = Worker(command, environment, cwd=older, log=tmp_path / "old.log")
    try:
        wait_until(old.is_ready, 30, old.explain)
        new = start_worker()
        send_by_older(100)
        wait_until(lambda: states() == {"sent": 200}, 60, lambda: old.explain() + new.explain())
        found = report.find(report.Filter())
        workers = {h["worker"].rpartition(":")[2] for m in found for h in m["history"]}
        assert workers == {str(pid) for pid in (*old.children(), *new.children())}
        assert {m["attempts"] for m in found} == {1, 2}
    finally:
        old.kill()
    letters(1)[0].send()
    wait_until(lambda: states() == {"sent": 201}, 60, new.explain)
    assert set(Counter(smtp_server.message_ids()).values()) == {1}
