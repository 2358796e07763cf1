"""What a newcomer runs first: the demo, and the commands that look at what it left."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from examples import fates
from mailqueue import EmailMessage
from mailqueue.local.embedded import EmbeddedServer, is_running
from mailqueue.monitor import report, text
from mailqueue.queue.journal import Settlement, open_journal
from mailqueue.state import State
from tests.support import wait_until

ROOT = Path(__file__).parents[2]


class Demo:
    """`make demo`, running."""

    def __init__(self, directory: Path, *options: str, name: str = "demo") -> None:
        self._log = directory / f"{name}.log"
        with self._log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, ROOT / "examples" / "demo.py", *options],
                cwd=directory,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def output(self) -> str:
        return self._log.read_text()

    def end(self) -> int:
        return self.process.wait()


@pytest.fixture
def home() -> Path:
    """Where all that the demo runs has its data."""
    return Path(os.environ["MAILQUEUE_HOME"])


@pytest.fixture
def interrupted(tmp_path: Path, home: Path) -> Demo:
    """A demo killed in the middle, whose mail waits in the queue."""
    demo = Demo(tmp_path)
    wait_until(lambda: "demo: sending" in demo.output(), 40, demo.output)
    demo.process.kill()
    demo.end()
    return demo


def test_the_demo_ends_by_itself(tmp_path: Path, home: Path) -> None:
    """205 messages come to the ends that they should, in under a minute; it says so and exits 0."""
    demo = Demo(tmp_path)
    assert demo.end() == 0, demo.output()
    assert "demo: as expected" in demo.output()
    assert len(list((home / "Maildir" / "new").iterdir())) == 204
    table = demo.output().partition("last reply\n")[2].partition("\n\n")[0]
    assert len(table.splitlines()) == 6, "it doesn't fit on one screen"
    assert "200 messages          sent    1         subscriber-1…200@example.com" in table


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("moment", ["starting", "sending"])
def test_a_signal_ends_all_of_the_demo(
    moment: str, number: signal.Signals, tmp_path: Path, home: Path
) -> None:
    """Without a traceback, with the exit status that belongs to the signal, at any moment."""
    demo = Demo(tmp_path)
    wait_until(lambda: f"demo: {moment}" in demo.output(), 40, demo.output)
    demo.process.send_signal(number)
    if number != signal.SIGINT:
        demo.process.send_signal(number)  # make passes on what a terminal has sent already
    assert demo.end() == 128 + number
    assert "Traceback" not in demo.output()
    assert not is_running(home)


def test_a_demo_after_one_that_was_killed(interrupted: Demo, tmp_path: Path, home: Path) -> None:
    """It waits for the rest of that one to end, and counts its own mail only."""
    demo = Demo(tmp_path)
    assert demo.end() == 0, interrupted.output() + demo.output()
    assert "demo: 204 messages of this run" in demo.output()
    assert "demo: as expected" in demo.output()
    assert not is_running(home)


def test_a_demo_beside_another_says_so(tmp_path: Path, home: Path) -> None:
    """While somebody else owns the embedded server, the demo waits, and then names the owner."""
    with EmbeddedServer(home):
        demo = Demo(tmp_path, "--patience", "1")
        assert demo.end() == 1
    assert "another `mailqueue up` runs here" in demo.output()
    assert f"belongs to the running process {os.getpid()}" in demo.output()
    assert "Traceback" not in demo.output()


@pytest.mark.long
def test_a_demo_beside_a_demo_waits_for_it(tmp_path: Path, home: Path) -> None:
    """It says so, and then shows its own mail; neither has a traceback."""
    first = Demo(tmp_path, name="first")
    wait_until(lambda: "demo: starting" in first.output(), 40, first.output)
    second = Demo(tmp_path, name="second")
    wait_until(lambda: "another demo runs here" in second.output(), 40, second.output)
    for demo in (first, second):
        assert demo.end() == 0, demo.output()
        assert "demo: as expected" in demo.output()
        assert "Traceback" not in demo.output()


@pytest.mark.long
def test_a_demo_in_a_read_only_directory_works_elsewhere(tmp_path: Path, monkeypatch) -> None:
    """In /proc nobody can make a directory, root neither; it says where its data are."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("MAILQUEUE_HOME", "/proc/mailqueue")
    demo = Demo(tmp_path)
    assert demo.end() == 0, demo.output()
    (said,) = (line for line in demo.output().splitlines() if "keeps its data in" in line)
    assert f"the demo keeps its data in {tmp_path}/mailqueue-demo-" in said


def test_two_installations_are_made_one_after_the_other(tmp_path: Path) -> None:
    """The second waits, says so, and passes on the status of what it runs."""
    lock, log = tmp_path / "not" / "there" / "lock", tmp_path / "log"
    command = [sys.executable, ROOT / "examples" / "alone.py", lock]
    holds = [*command, sys.executable, "-c", "print(end=input())"]
    with subprocess.Popen(holds, stdin=subprocess.PIPE) as first, log.open("w") as output:
        wait_until(lambda: is_locked(lock), 20)
        exits = [*command, sys.executable, "-c", "raise SystemExit(3)"]
        with subprocess.Popen(exits, stdout=output) as second:
            wait_until(lambda: "waiting for it to end" in log.read_text(), 20)
            assert second.poll() is None
            first.communicate(b"\n")
            assert second.wait() == 3
    assert first.returncode == 0


def is_locked(path: Path) -> bool:
    if not path.exists():
        return False
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def fate(n: int, **changed: object) -> dict:
    return {
        "id": f"id-{n}",
        "state": "sent",
        "attempts": 1,
        "subject": f"News {n}",
        "reply": f"250 OK: 17{n}",
        "recipients": [{"address": f"subscriber-{n}@example.com"}],
        "created": f"2026-11-21T00:{n:02}",
        **changed,
    }


def test_the_demos_table_accounts_for_every_message() -> None:
    """Messages that differ in numbers only share a line; one with another fate has its own."""
    found = [fate(n) for n in range(1, 13)]
    found[4] = fate(5, attempts=2)
    first, *rows = fates.table(found).splitlines()
    assert first.startswith("message")
    assert rows == [
        "11 messages  sent   1         subscriber-1…12@example.com  News 1…12  250 OK: 17…",
        "id-5         sent   2         subscriber-5@example.com     News 5     250 OK: 175",
    ]


def test_the_demo_counts_the_copies_of_its_own_run(tmp_path: Path) -> None:
    """By the envelope of what lies in the inbox; a second copy shows."""
    (tmp_path / "new").mkdir()
    for n, sender in enumerate(["mine", "mine", "other"]):
        envelope = f"Return-Path: <{sender}@example.com>\r\nX-Envelope-To: a@example.com\r\n"
        (tmp_path / "new" / str(n)).write_bytes(envelope.encode() + b"Subject: x\r\n\r\n")
    assert fates.delivered(tmp_path, "mine@example.com") == Counter({"a@example.com": 2})


def test_health_says_how_to_start_what_is_not_running(home: Path, run_cli) -> None:
    """Without the embedded server: exit status 2, and nothing is started to find out."""
    found = run_cli("health")
    assert (found.returncode, found.stderr) == (2, "")
    journal, _settings, problem = found.stdout.splitlines()
    assert journal == f"journal:  the embedded server in {home}"
    assert problem == (
        f"problem: the embedded server in {home} isn't running: start it with `mailqueue up`, "
        "or name another server in MAILQUEUE['JOURNAL_URL'] and MAILQUEUE['BROKER_URL']"
    )
    as_json = run_cli("health", "--json")
    assert as_json.returncode == 2
    assert json.loads(as_json.stdout)["problems"] == [problem[len("problem: ") :]]
    assert not is_running(home)


def test_status_warns_of_a_backend_that_is_not_there(producer, run_cli) -> None:
    """A typing error in EMAIL_BACKEND shows here, not first in the program that sends."""
    found = run_cli("status", EMAIL_BACKEND="mailqueue.backends.que.EmailBackend")
    assert found.returncode == 0
    assert "warning: EMAIL_BACKEND = 'mailqueue.backends.que.EmailBackend' can't" in found.stdout
    assert "warning" not in run_cli("status").stdout


def test_status_tells_workers_that_have_ended(
    producer, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that has missed its beats is shown as silent while it is still listed."""
    monkeypatch.setattr(report, "_SILENT_AFTER", 600)
    open_journal().beat("mail1:4711")
    assert report.status()["queues"][0]["silent"] == []
    monkeypatch.setattr(report, "_SILENT_AFTER", 0.001)
    wait_until(lambda: report.status()["queues"][0]["silent"] == ["mail1:4711"], 5)
    assert "workers: mail1:4711 (silent, has probably ended)" in text.status(report.status())


def test_show_cuts_nothing(producer, redis_url: str) -> None:
    """A server's reply is shown to its end by `show`; `list` keeps a message on one line."""
    message = EmailMessage("Hello", "", "from@example.com", ["to@example.com"])
    message.send()
    (claim,), _ = open_journal().claim([(message.mailqueue_id, "")])
    reply = f"550 5.7.1 {'because of this and that, ' * 20}see https://example.com/why"
    open_journal().settle(claim, Settlement(State.FAILED, reply), "mail1:4711")
    found = report.show(message.mailqueue_id)
    assert text.message(found).count(reply) == 2  # the recipient's, and the attempt's
    assert reply not in text.messages([found])
    assert len(text.messages([found]).splitlines()) == 2


def test_retry_says_why_it_could_not(producer, redis_url: str, run_cli) -> None:
    """For a message in each state that doesn't allow it: the reason, and what to do instead."""
    message = EmailMessage("Hello", "", "from@example.com", ["to@example.com"])
    message.send()
    id_, journal = message.mailqueue_id, open_journal()

    def refusal() -> str:
        result = run_cli("retry", id_)
        assert (result.returncode, result.stdout) == (1, "0 queued again\n")
        return result.stderr

    assert f"not queued again: {id_} is queued: it waits for a worker already" in refusal()
    (claim,), _ = journal.claim([(id_, "")])
    assert "is sending: a worker is sending it" in refusal()
    journal.commit(claim)
    due = report.show(id_)["due"]
    assert "is committing: its final dot is being sent, or was, and no reply" in refusal()
    assert f"it is uncertain from {due} on, and can be retried then" in refusal()
    journal.settle(claim, Settlement(State.UNCERTAIN, "no reply"))
    assert run_cli("retry", id_).stdout == "1 queued again\n"
    journal.hold([id_])
    assert f"`mailqueue resume {id_}` queues it" in refusal()
