"""The command `mailqueue up`, run as a user runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from mailqueue.local.embedded import EmbeddedServer, is_running
from tests.support import in_django, printed, wait_until


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    """`mailqueue up`, running; nothing of it is left after the test."""
    running = Up(tmp_path)
    try:
        wait_until(lambda: "mailqueue is up" in running.output(), 40, running.output)
        yield running
    finally:
        running.end()


class Up:
    """`mailqueue up` in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.home = directory / "home"
        self.family: list[int] = []
        self._log = directory / "up.log"
        with self._log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mailqueue", "up", "--inbox-port", "0"],
                env={**os.environ, "MAILQUEUE_HOME": str(self.home)},
                cwd=directory,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def output(self) -> str:
        return self._log.read_text()

    def end(self) -> None:
        """Stop it, and whatever it left behind if it was killed."""
        self.process.terminate()
        try:
            self.process.wait()
        finally:
            self.process.kill()
            for pid in self.family:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if is_running(self.home):
                with EmbeddedServer(self.home):
                    pass

    def mail(self) -> int:
        """How many messages its inbox has."""
        return len(list((self.home / "Maildir" / "new").iterdir()))


def test_up_runs_everything_and_ctrl_c_ends_all_of_it(up: Up, run_cli):
    """Server, worker and inbox in one command; mail goes through; nothing is left running."""
    assert 'EMAIL_BACKEND = "mailqueue.backends.queue.EmailBackend"' in up.output()
    assert f"MAILQUEUE_HOME={up.home}" in up.output()
    sent = run_cli("send", "--to", "me@example.com", MAILQUEUE_HOME=str(up.home))
    assert sent.returncode == 0, sent.stderr
    wait_until(lambda: up.mail() == 1, 20, up.output)
    assert run_cli("health").returncode == 0
    up.family = descendants(up.process.pid)
    assert len(up.family) >= 2
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait() == 0, up.output()
    assert [pid for pid in up.family if is_alive(pid)] == []
    assert not is_running(up.home)
    # What is on record is still there, and can be asked for without anything running.
    (record,) = printed(run_cli("list", "--json"))
    assert (record["state"], record["recipients"][0]["address"]) == ("sent", "me@example.com")
    assert not is_running(up.home)


@pytest.mark.parametrize("mailers", [False, True])
def test_in_a_django_project_up_speaks_of_the_settings_that_hold_there(mailers: bool):
    """Of MAILERS where there are some, which Django 6.1 refuses beside the older settings."""
    values = {"EMAIL_PORT": 2525} if not mailers else {"MAILERS": {"out": {}}}
    code = "from mailqueue.local.up import introduction; result = introduction(8025)"
    shown = in_django({**values, "MAILQUEUE": {"USING": "out" if mailers else None}}, code)
    assert (
        '"OPTIONS": {"host": "127.0.0.1", "port": 8025}  # in MAILERS[\'out\']' in shown
    ) is mailers
    assert ("EMAIL_PORT = 8025" in shown) is not mailers
    assert ("EMAIL_BACKEND = " in shown) is not mailers
    assert "2525" not in shown  # the worker's environment may change it


def test_a_worker_does_not_outlive_a_killed_up(up: Up):
    """`kill -9`: a worker left behind would deliver to an inbox that is gone."""
    up.family = descendants(up.process.pid)
    workers = [pid for pid in up.family if "celery" in command_line(pid)]
    assert workers
    up.process.kill()
    wait_until(lambda: not any(is_alive(pid) for pid in workers), 30, up.output)


def test_up_starts_its_server_again_when_that_is_killed(up: Up, run_cli):
    """Mail that is sent after that goes through."""
    up.family = descendants(up.process.pid)
    (server,) = [pid for pid in up.family if "valkey" in command_line(pid)]
    os.kill(server, signal.SIGKILL)
    wait_until(lambda: "it runs again" in up.output(), 20, up.output)
    assert run_cli("send", "--to", "me@example.com").returncode == 0
    wait_until(lambda: up.mail() == 1, 30, up.output)


@pytest.fixture
def queued(run_cli) -> str:
    """The id of a message that was accepted while nothing ran."""
    assert run_cli("send", "--to", "me@example.com").returncode == 0
    (record,) = printed(run_cli("list", "--json"))
    assert record["state"] == "queued"
    return record["id"]


def test_a_message_that_was_queued_without_a_worker_is_found_by_up(queued: str, up: Up, run_cli):
    """It lies in the home that `mailqueue up` takes over, and is delivered to its inbox."""
    wait_until(lambda: up.mail() == 1, 30, up.output)

    def record() -> dict[str, Any]:
        return printed(run_cli("show", queued, "--json"))

    wait_until(lambda: record()["state"] == "sent", 20, up.output)
    assert record()["attempts"] == 1


def descendants(pid: int) -> list[int]:
    """All processes that descend from that one, and what else is of their sessions."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) in {pid, *found}:
            found.append(int(path.parent.name))
    return found


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def is_alive(pid: int) -> bool:
    """Whether the process still runs; a dead one that nobody has waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
