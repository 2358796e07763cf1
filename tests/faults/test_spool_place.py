"""The spool is found by whoever should replay it, and its users learn when nobody does."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mailqueue import EmailMessage
from mailqueue.conf.spool import spool_directory
from mailqueue.errors import ImproperlyConfigured
from mailqueue.monitor import report
from mailqueue.queue.caretaker import caretaker_of, look_after
from mailqueue.queue.journal import Claim, Entry, SettledClaim, Settlement
from mailqueue.queue.payload.codec import digest
from mailqueue.queue.spool import Spool, current_spool
from mailqueue.state import State
from mailqueue.store.client import connect
from mailqueue.store.sealing import Sealer
from mailqueue.worker.spool import SpoolKeeper
from tests.contracts.journals import entry
from tests.support import wait_until

SENDS = """
from mailqueue import send_mail
assert send_mail("Hello", "A letter", "from@example.com", ["to@example.com"]) == 1
"""


@pytest.fixture(autouse=True)
def queue(producer, monkeypatch) -> None:
    monkeypatch.setenv("MAILQUEUE_ENQUEUE_TIMEOUT", "1")
    monkeypatch.setenv("MAILQUEUE_ON_OUTAGE", "spool")


def letter() -> EmailMessage:
    return EmailMessage("Hello", "A letter", "from@example.com", ["to@example.com"])


def whole(id_: str) -> Entry:
    return entry(id_, digest=digest(f"payload of {id_}"))


def problems(result: subprocess.CompletedProcess[str]) -> dict[str, list[str]]:
    return {part["name"]: part["problems"] for part in json.loads(result.stdout)["checks"]}


def test_a_worker_of_another_directory_sends_what_was_spooled(
    monkeypatch, tmp_path, start_worker, smtp_server, unused_port, run_cli
):
    """Program, worker and command line each run in a directory of their own, told of no spool."""
    monkeypatch.delenv("MAILQUEUE_HOME")
    away = {"MAILQUEUE_BROKER_URL": f"redis://127.0.0.1:{unused_port}/0"}
    for name in ("program", "cron"):
        (tmp_path / name).mkdir()
        subprocess.run(
            [sys.executable, "-c", SENDS],
            cwd=tmp_path / name, env=os.environ | away, check=True,
        )  # fmt: skip
    assert current_spool().waiting().messages == 2
    worker = start_worker()
    wait_until(lambda: len(smtp_server.received) == 2, 20, worker.explain)
    monkeypatch.chdir(tmp_path)
    found = run_cli("check", "--program")
    assert (found.returncode, found.stderr) == (0, "")
    assert ", looked after by " in found.stdout


BAD_PLACES: dict[str, Callable[[Path], dict[str, str]]] = {
    "a file in the way": lambda path: {"MAILQUEUE_SPOOL_DIR": str(path / "file" / "spool")},
    "of the user too": lambda path: {"XDG_STATE_HOME": str(path / "file")},
    "open to the world": lambda path: {"MAILQUEUE_SPOOL_DIR": str(path / "open")},
    "a home that can't be made": lambda _: {"XDG_STATE_HOME": "", "HOME": "/dev/null/nobody"},
}


@pytest.mark.parametrize("place", BAD_PLACES)
def test_a_spool_that_can_not_be_had_is_an_error_at_the_first_send(
    place, monkeypatch, tmp_path, run_cli
):
    """Not first in an outage; `check` says it too, for a program and for a worker."""
    (tmp_path / "file").touch()
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    for name, value in BAD_PLACES[place](tmp_path).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ImproperlyConfigured, match=r"SPOOL_DIR"):
        letter().send()
    assert report.status()["queues"][0]["totals"] == {}
    for options in ([], ["--program"]):
        found = run_cli("check", "--json", *options)
        assert (found.returncode, len(problems(found)["spool"])) == (1, 1)


def test_a_program_learns_that_nobody_looks_after_its_spool(run_cli, redis_url, smtp_server):
    """Until a worker or a flush has said so; the mail server is not for programs to be asked."""
    found = run_cli("check", "--program", "--json")
    assert f"nobody looks after the spool {spool_directory()}" in problems(found)["spool"][0]
    assert list(problems(found)) == ["settings", "spool", "journal", "broker"]
    assert run_cli("spool", "flush").returncode == 0  # there is no spool yet
    letter().send()
    assert run_cli("check", "--program").returncode == 1
    assert run_cli("spool", "flush").returncode == 0
    assert run_cli("check", "--program").returncode == 0
    assert smtp_server.sessions == 0


def test_a_program_that_spools_nothing_needs_nobody(run_cli, monkeypatch):
    """With ON_OUTAGE "raise", a machine that only sends needs no worker."""
    monkeypatch.setenv("MAILQUEUE_ON_OUTAGE", "raise")
    found = run_cli("check", "--program")
    assert (found.returncode, "not used, ON_OUTAGE raise" in found.stdout) == (0, True)


def test_a_spool_is_known_wherever_it_is_mounted(redis_url, tmp_path):
    """By what lies in it: containers that share a volume agree neither on its path nor on a host.

    Of many that give it a name at once, all use the same.
    """
    client = connect(redis_url, 5.0)
    (tmp_path / "spool").mkdir()
    (tmp_path / "mount").symlink_to(tmp_path / "spool")
    threads = [
        threading.Thread(target=look_after, args=(client, tmp_path / "spool", 5.0))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(client.keys("mailqueue:spool:*")) == 1
    assert caretaker_of(client, tmp_path / "mount") is not None
    assert [path.name for path in (tmp_path / "spool").iterdir()] == [".id"]
    look_after(client, tmp_path / "spool", 0.001)
    wait_until(lambda: caretaker_of(client, tmp_path / "mount") is None, 5)


def test_what_earlier_versions_left_is_handed_over(run_cli):
    """Under MAILQUEUE_HOME, by a flush or a worker that has the same home."""
    former = Spool(Path(os.environ["MAILQUEUE_HOME"]) / "spool", Sealer())
    former.keep_messages("mailqueue", [whole("m")], fsync=False)
    found = json.loads(run_cli("spool", "flush", "--json").stdout)
    assert (found["accepted"], found["remaining"], former.waits()) == (1, 0, False)
    former.keep_messages("mailqueue", [whole("n")], fsync=False)
    SpoolKeeper().round()
    assert not former.waits()


def test_a_worker_without_a_spool_says_so_once(monkeypatch, tmp_path, caplog):
    """And does all else: a container's file system may be read-only."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("mailqueue.worker.spool._SECONDS_BETWEEN_NOTES", 0.0)
    keeper = SpoolKeeper()
    with caplog.at_level(logging.WARNING):
        keeper.round()
        keeper.round()
    (said,) = caplog.messages
    assert said.startswith("this worker looks after no spool: ")


@pytest.fixture
def shared() -> Iterator[Path]:
    """A spool directory that others can reach, as an administrator makes it."""
    mask = os.umask(0o077)
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        directory = Path(name) / "spool"
        directory.mkdir()
        yield directory
    os.umask(mask)


def keep(spool: Spool) -> None:
    spool.keep_messages("mailqueue", [whole("m")], fsync=False)
    claim = Claim("n", "1", 1, 1, 0.0, "{}", "")
    spool.keep_result("mailqueue", SettledClaim(claim, Settlement(State.FAILED, "550 no")))


def modes(directory: Path) -> dict[str, int]:
    return {
        str(path.relative_to(directory)).partition(".")[0][:9]: path.stat().st_mode & 0o7777
        for path in directory.rglob("*")
    }


@pytest.mark.parametrize(
    ("mode", "found"),
    [
        (0o2770, {"m": 0o660, "results": 0o2770, "results/n": 0o660}),
        (0o770, {"m": 0o660, "results": 0o2770, "results/n": 0o660}),
        (0o700, {"m": 0o600, "results": 0o700, "results/n": 0o600}),
        (0o755, {"m": 0o600, "results": 0o700, "results/n": 0o600}),
    ],
)
def test_the_directory_says_who_shares_the_spool(mode: int, found: dict, shared: Path):
    """A group that may write there, whatever the umask of a program; the world never."""
    shared.chmod(mode)
    keep(Spool(shared, Sealer()))
    assert {name: mode for name, mode in modes(shared).items() if name in found} == found
    assert len(modes(shared)) == 3


def as_user(user: int, group: int, others: list[int], do: Callable[[], object]) -> bool:
    """Whether that goes well, done by another user."""
    child = os.fork()
    if not child:
        try:
            os.setgroups(others)
            os.setgid(group)
            os.setuid(user)
            do()
            os._exit(0)
        except BaseException as error:  # noqa: BLE001 - it mustn't become a second pytest
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0


@pytest.mark.needs("root", missing="" if os.geteuid() == 0 else "only root can be others")
@pytest.mark.parametrize("mode", [0o2770, 0o770])
def test_program_and_worker_of_two_users_share_a_spool_by_a_group(mode: int, shared: Path):
    """Each reads and removes what the other wrote; who isn't of the group can't."""
    program, worker, ours = 64001, 64002, 64009
    os.chown(shared, 0, ours)
    shared.chmod(mode)
    spool = Spool(shared, Sealer())

    def empty() -> None:
        for path in (*shared.glob("*.json"), *(shared / "results").glob("*.json")):
            json.loads(path.read_text())
            path.unlink()
        assert not spool.waits()

    assert as_user(program, program, [ours], lambda: keep(spool))
    assert not as_user(64003, 64003, [], empty)
    assert as_user(worker, worker, [ours], empty)
    assert as_user(worker, worker, [ours], lambda: keep(spool))
    assert as_user(program, program, [ours], empty)
