"""The file by which a worker of this machine shows that it lives."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mailqueue.local.heartbeat import Heartbeat, directory, living


@pytest.fixture
def heartbeat() -> Heartbeat:
    found = Heartbeat("here:1", "celery@here")
    found.beat()
    return found


def own_file() -> Path:
    return directory() / f"{socket.gethostname()}.{os.getpid()}.json"


def names() -> list[str]:
    return [one.worker for one in living()]


def test_a_worker_lives_from_its_first_beat_to_its_end(heartbeat):
    """Its names are those of `mailqueue status` and of Celery."""
    (found,) = living()
    assert (found.worker, found.node) == ("here:1", "celery@here")
    assert [path.name for path in directory().iterdir()] == [own_file().name]
    heartbeat.end()
    assert living() == []
    heartbeat.end()  # a second end is none


@pytest.mark.parametrize(("seconds", "lives"), [(25, True), (31, False), (-31, False)])
def test_a_timer_that_beats_no_more_is_no_life(heartbeat, seconds, lives):
    """After 30 seconds, whatever its process does; nor is a beat of a time to come."""
    then = time.time() - seconds
    os.utime(own_file(), (then, then))
    assert names() == ["here:1"] * lives
    heartbeat.beat()
    assert names() == ["here:1"]


def test_a_process_that_has_ended_lives_no_more(heartbeat):
    """At once, and its file goes."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = own_file().with_name(f"{socket.gethostname()}.{ended.pid}.json")
    left.write_text(json.dumps({"worker": "here:2", "node": "celery@gone"}))
    assert names() == ["here:1"]
    assert not left.exists()


def test_another_machines_worker_is_not_this_ones(heartbeat):
    """Containers may share a directory, and their processes have the same numbers."""
    own_file().rename(directory() / f"elsewhere.{os.getpid()}.json")
    assert living() == []


def test_a_damaged_file_hides_no_other(heartbeat):
    """Nor is it a worker."""
    own_file().with_name(f"{socket.gethostname()}.1.json").write_text("{")
    assert names() == ["here:1"]


def test_a_worker_without_a_place_to_write_works_all_the_same(monkeypatch, tmp_path, caplog):
    """With one warning."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("MAILQUEUE_HOME", str(tmp_path / "file" / "home"))
    heartbeat = Heartbeat("here:1", "celery@here")
    for _ in range(3):
        heartbeat.beat()
    heartbeat.end()
    assert len(caplog.messages) == 1
    assert living() == []


def test_without_a_home_of_ours_it_is_in_the_users_state(monkeypatch, tmp_path):
    """And not under the working directory, which is another one for who asks."""
    monkeypatch.delenv("MAILQUEUE_HOME")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert directory() == tmp_path / "state" / "mailqueue" / "workers"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert directory() == tmp_path / ".local" / "state" / "mailqueue" / "workers"
