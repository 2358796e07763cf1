"""What the journal can't take is kept on the disk or sent at once: nothing is lost or doubled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from mailqueue import EmailMessage, get_connection
from mailqueue.errors import EnqueueUnknown, JournalUnavailable
from mailqueue.events import counts
from mailqueue.monitor import health, report
from mailqueue.queue.journal import Claim, Journal, SettledClaim, Settlement, open_journal
from mailqueue.queue.spool import Spool, current_spool
from mailqueue.state import State
from mailqueue.store.sealing import Sealer
from tests.servers import Valkey
from tests.support import wait_until

TIMEOUT = 1.0  # seconds, as ENQUEUE_TIMEOUT
PERSISTENT = {"appendonly": "yes", "appendfsync": "always"}


@pytest.fixture(autouse=True)
def queue(producer, monkeypatch) -> None:
    monkeypatch.setenv("MAILQUEUE_ENQUEUE_TIMEOUT", str(TIMEOUT))
    monkeypatch.setenv("MAILQUEUE_ON_OUTAGE", "spool")


@pytest.fixture
def journal_is(monkeypatch, redis_url, unused_port) -> Callable[[str], None]:
    """Take the journal away from this process, which is a program's, and give it back."""

    def be(what: str) -> None:
        away = f"redis://127.0.0.1:{unused_port}/0"
        monkeypatch.setenv("MAILQUEUE_BROKER_URL", {"away": away, "back": redis_url}[what])

    return be


@pytest.fixture
def stopped_journal(tmp_path, monkeypatch) -> Iterator[Valkey]:
    """A server of one's own to which connections are open, and which has stopped since."""
    with Valkey(tmp_path / "valkey") as server:
        monkeypatch.setenv("MAILQUEUE_BROKER_URL", server.url)
        letter().send()
        server.suspend()
        yield server


def letter(subject: str = "Hello") -> EmailMessage:
    return EmailMessage(subject, "A letter", "from@example.com", ["to@example.com"])


def spooled(count: int = 1) -> list[EmailMessage]:
    messages = [letter(f"Letter {number}") for number in range(count)]
    assert get_connection().send_messages(messages) == count
    return messages


def files(directory: Path | None = None) -> list[Path]:
    return sorted((directory or current_spool().directory).glob("*.json"))


def flushed(run_cli, status: int = 0, **environment: str):
    result = run_cli("spool", "flush", "--json", **environment)
    assert result.returncode == status, result.stderr
    return json.loads(result.stdout)


def test_a_spooled_message_is_a_file_of_ones_own_and_is_accepted_later(journal_is, run_cli):
    """Nobody else may read it; the id is known at once, and the file goes when it is accepted."""
    journal_is("away")
    before = counts().get("spooled", 0)
    message = letter()
    assert message.send() == 1
    (file,) = files()
    assert file.name == f"{message.mailqueue_id}.json"
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert list(file.parent.iterdir()) == [file]
    assert counts()["spooled"] == before + 1
    journal_is("back")
    assert report.status()["spool"]["messages"] == 1
    assert "spool: 1 messages" in run_cli("status").stdout
    found = flushed(run_cli)
    assert (found["accepted"], found["remaining"], found["reasons"]) == (1, 0, [])
    assert report.show(message.mailqueue_id)["state"] == "queued"
    assert files() == []
    assert "spool" not in run_cli("status").stdout


def test_a_worker_replays_the_spool_by_itself(journal_is, start_worker, smtp_server):
    """Its timer sees the files; each message arrives once, with the Message-ID that it had."""
    worker = start_worker()
    journal_is("away")
    ids = [message.mailqueue_id for message in spooled(20)]
    expected = {json.loads(json.loads(f.read_text())["entry"]["payload"])["added"]["Message-ID"]
                for f in files()}  # fmt: skip
    wait_until(lambda: len(smtp_server.received) >= 20, 30, worker.explain)
    journal_is("back")
    wait_until(lambda: report.status()["queues"][0]["states"]["sent"] == 20, 20, worker.explain)
    assert Counter(smtp_server.message_ids()) == Counter(expected)
    assert {report.show(id_)["state"] for id_ in ids} == {"sent"}
    assert files() == []


def test_all_that_was_asked_for_is_kept(journal_is, run_cli, monkeypatch):
    """Times, key, priority, queue and large attachments come to the journal as they were."""
    monkeypatch.setenv("MAILQUEUE_DURABILITY", "fsync")
    now = datetime.now(UTC).replace(microsecond=0)
    message = letter()
    message.attach("large.bin", os.urandom(100_000), "application/octet-stream")
    message.send_at, message.expires_at = now + timedelta(hours=1), now + timedelta(hours=2)
    message.idempotency_key, message.priority, message.queue = "key", "high", "letters"
    journal_is("away")
    message.send()
    file = json.loads(files()[0].read_text())
    journal_is("back")
    assert flushed(run_cli)["accepted"] == 1
    journal = open_journal("letters")
    (record,) = journal.read([message.mailqueue_id])
    assert (record.state, record.due) == (State.SCHEDULED, now + timedelta(hours=1))
    assert journal.payload(record.id) == file["entry"]["payload"]
    (name,) = file["entry"]["blobs"]
    assert journal.blob(name) == file["entry"]["blobs"][name]
    again = letter()
    again.idempotency_key, again.queue = "key", "letters"
    again.send()
    assert again.mailqueue_id == message.mailqueue_id


def test_a_sealed_message_is_sealed_in_the_spool(journal_is, run_cli, monkeypatch):
    """Not a word of it can be read; without the key it stays, with the key it is accepted."""
    monkeypatch.setenv("MAILQUEUE_SECRET_KEYS", Fernet.generate_key().decode())
    message = letter("Secret subject")
    message.attach("secret.txt", "secret words " * 5000, "text/plain")
    journal_is("away")
    message.send()
    text = files()[0].read_text()
    assert text.startswith("sealed:")
    assert not any(word in text for word in ("Secret", "example.com", "letter", "secret"))
    journal_is("back")
    found = flushed(run_cli, 1, MAILQUEUE_SECRET_KEYS="")
    assert (found["accepted"], found["remaining"], found["damaged"]) == (0, 1, [])
    assert "SECRET_KEYS" in found["reasons"][0]
    assert flushed(run_cli)["accepted"] == 1
    assert report.show(message.mailqueue_id)["subject"] == "Secret subject"


def test_a_journal_that_hangs_holds_up_one_send_and_not_the_next(stopped_journal, caplog):
    """Every request of a web site would wait for it otherwise."""
    for _ in range(4):
        assert letter().send() == 1
    assert caplog.text.count("did not answer") == 1
    assert caplog.text.count("the journal was away a moment ago") == 3
    assert len(files()) == 4


def test_after_an_unknown_end_the_spool_makes_no_second_message(stopped_journal, run_cli):
    """The journal stops during the accept and takes it after all: the replay changes nothing."""
    message = letter()
    assert message.send() == 1
    stopped_journal.resume()
    wait_until(lambda: len(report.find(report.Filter())) == 2, 5)
    assert flushed(run_cli)["accepted"] == 1
    assert len(report.find(report.Filter())) == 2
    assert report.show(message.mailqueue_id)["state"] == "queued"


def test_a_journal_that_is_away_leaves_the_files(journal_is, run_cli):
    """The command says how many remain and why, and gives up after a few."""
    journal_is("away")
    spooled(10)
    found = flushed(run_cli, 1)
    assert (found["accepted"], found["remaining"]) == (0, 10)
    assert len(found["reasons"]) == 3
    assert all("can't be reached" in reason for reason in found["reasons"])
    assert "not taken: " in run_cli("spool", "flush").stdout
    journal_is("back")
    assert flushed(run_cli)["accepted"] == 10


def test_a_file_outlasts_an_answer_that_got_lost(stopped_journal, run_cli):
    """It is removed when the journal has said that it has the message, and not before."""
    message = letter()
    message.send()
    stopped_journal.resume()
    open_journal().beat("somebody")  # connections are open again, and the queue is known
    stopped_journal.suspend()
    assert "did not answer" in current_spool().replay().reasons[0]
    assert [file.stem for file in files()] == [message.mailqueue_id]
    stopped_journal.resume()
    assert flushed(run_cli)["accepted"] == 1
    assert files() == []


def test_a_spool_that_can_not_be_written_is_the_journals_error(journal_is, monkeypatch, tmp_path):
    """Where it could at first: it names both, and nothing was accepted."""
    directory = tmp_path / "there"
    monkeypatch.setenv("MAILQUEUE_SPOOL_DIR", str(directory))
    assert letter().send() == 1
    directory.rmdir()
    directory.touch()
    journal_is("away")
    with pytest.raises(JournalUnavailable, match=r"can't be reached.*can't be written either"):
        letter().send()
    assert get_connection(fail_silently=True).send_messages([letter()]) == 0


SENDS_TO_A_SMALL_DISK = """
import os, resource
from mailqueue import EmailMessage, get_connection
from mailqueue.errors import JournalUnavailable
# No file may grow beyond 10 kB: it ends like a full disk, in the middle of a write.
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
messages = [EmailMessage("Hello", "", "from@example.com", ["to@example.com"]) for _ in range(3)]
messages[1].attach("large.bin", os.urandom(20_000), "application/octet-stream")
try:
    get_connection().send_messages(messages)
except JournalUnavailable as error:
    print(error)
"""


def test_a_disk_that_is_full_leaves_no_half_of_a_list(journal_is):
    """One of three messages doesn't fit: none is kept, and the error says why."""
    journal_is("away")
    # A process of its own, since the limit is one for all files: these tests' output is one, too.
    done = subprocess.run(
        [sys.executable, "-c", SENDS_TO_A_SMALL_DISK], capture_output=True, text=True, check=True
    )
    assert "File too large" in done.stdout
    assert list(current_spool().directory.iterdir()) == []


def damage(file: Path, how: str) -> None:
    content = json.loads(file.read_text())
    if how == "truncated":
        file.write_bytes(file.read_bytes()[:-20])
    elif how == "binary":
        file.write_bytes(b"\xff\x00")
    elif how == "empty":
        file.write_bytes(b"")
    elif how == "another payload":
        content["entry"]["payload"] += " "
        file.write_text(json.dumps(content))
    elif how == "no entry":
        file.write_text(json.dumps(content | {"entry": None}))
    else:
        file.write_text(json.dumps(content | {"v": 2}))


@pytest.mark.parametrize(
    "how", ["truncated", "binary", "empty", "another payload", "no entry", "another version"]
)
def test_a_damaged_file_is_put_aside_and_the_others_go_on(how, journal_is, run_cli, caplog):
    """It is kept and named, in the log, by the command and by `mailqueue health`."""
    journal_is("away")
    spooled(3)
    bad = files()[0]
    damage(bad, how)
    before = bad.read_bytes()
    journal_is("back")
    found = current_spool().replay()
    aside = bad.parent / "damaged" / bad.name
    assert (found.accepted, found.damaged) == (2, [str(aside)])
    assert aside.read_bytes() == before
    assert str(aside) in caplog.text
    assert files() == []
    assert any("1 damaged files" in problem for problem in health.health()["problems"])


def test_two_flushes_at_once_take_each_message_once(journal_is):
    """Together they accept all of 200, and none of them twice."""
    journal_is("away")
    spooled(200)
    journal_is("back")
    command = [sys.executable, "-m", "mailqueue", "spool", "flush", "--json"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    found = [json.loads(process.communicate()[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum(each["accepted"] for each in found) == 200
    assert report.status()["queues"][0]["totals"] == {"accepted": 200}


def test_a_timer_does_not_wait_for_another_that_replays(journal_is):
    """While one process is at it, another's timer goes on with its other work."""
    journal_is("away")
    spooled(1)
    journal_is("back")
    spool = current_spool()
    with spool._alone(wait=True):
        assert spool.replay(wait=False).done == 0
        threading.Thread(target=spool.replay, daemon=True).start()
    wait_until(lambda: files() == [], 10)


# -- ON_OUTAGE = "send"


@pytest.fixture
def at_once(monkeypatch) -> None:
    monkeypatch.setenv("MAILQUEUE_ON_OUTAGE", "send")


def test_it_is_sent_at_once_where_that_was_chosen(at_once, journal_is, smtp_server):
    """The delivery backend gets it from the caller, each message with its Message-ID."""
    journal_is("away")
    before = counts().get("sent_directly", 0)
    message = letter()
    message.extra_headers = {"Message-ID": "<mine@example.com>"}
    assert get_connection().send_messages([message, letter()]) == 2
    assert smtp_server.message_ids()[0] == "<mine@example.com>"
    assert len(set(smtp_server.message_ids())) == 2
    assert counts()["sent_directly"] == before + 2
    assert files() == []


def test_what_may_have_been_accepted_is_not_sent_at_once(
    at_once, stopped_journal, smtp_server, journal_is
):
    """It might become a second copy: an error, also when the same object is sent once more."""
    message = letter()
    with pytest.raises(EnqueueUnknown):
        message.send()
    journal_is("away")  # from here on it is refused, but the first attempt is still in doubt
    with pytest.raises(EnqueueUnknown):
        message.send()
    assert smtp_server.received == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("send_at", datetime.now(UTC) + timedelta(hours=1)),
        ("expires_at", datetime.now(UTC) - timedelta(hours=1)),
        ("idempotency_key", "key"),
    ],
)
def test_what_only_the_journal_can_do_is_not_sent_at_once(
    at_once, journal_is, smtp_server, name, value
):
    """Later, no more, or once for a key: the journal's error is raised."""
    journal_is("away")
    message = letter()
    setattr(message, name, value)
    with pytest.raises(JournalUnavailable):
        get_connection().send_messages([letter(), message])
    assert smtp_server.received == []


def test_with_the_mail_server_away_too_the_error_is_its_own(
    at_once, journal_is, smtp_server, monkeypatch, unused_port, caplog
):
    """Its note says why the message was sent directly; with `fail_silently` it is a line."""
    journal_is("away")
    monkeypatch.setenv("EMAIL_PORT", str(unused_port))
    with pytest.raises(ConnectionRefusedError) as caught:
        letter().send()
    assert isinstance(caught.value.__cause__, JournalUnavailable)
    assert "can't be reached" in caught.value.__notes__[0]
    assert get_connection(fail_silently=True).send_messages([letter()]) == 0
    assert "1 messages were neither queued" in caplog.text


# -- results


def test_a_result_outlasts_worker_and_journal(
    start_worker, smtp_server, tmp_path, monkeypatch, stack
):
    """Row: journal lost between dot and settle, and the worker is stopped before it is back.

    The result is in a file; the next worker records it, and nobody sends a second copy.
    """
    server = stack.enter_context(Valkey(tmp_path / "journal", config=PERSISTENT))
    url = server.url
    monkeypatch.setenv("MAILQUEUE_JOURNAL_URL", url)
    worker = start_worker(MAILQUEUE_JOURNAL_URL=url)
    smtp_server.before_reply = server.terminate
    message = letter()
    message.send()
    wait_until(lambda: "waits for the journal" in worker.log.read_text(), 30, worker.explain)
    assert worker.stop() == 0, worker.explain()
    results = current_spool().directory / "results"
    (file,) = files(results)
    assert (file.stat().st_mode & 0o777, results.stat().st_mode & 0o777) == (0o600, 0o700)
    assert str(file) in worker.log.read_text()
    smtp_server.before_reply = lambda: None
    server.start()
    assert report.show(message.mailqueue_id)["state"] == "committing"
    second = start_worker(MAILQUEUE_JOURNAL_URL=url)
    wait_until(lambda: report.show(message.mailqueue_id)["state"] == "sent", 20, second.explain)
    second.stop()
    assert files(results) == []
    assert len(smtp_server.received) == 1


def claimed(journal: Journal, message: EmailMessage) -> Claim:
    claims, _ = journal.claim([(message.mailqueue_id, "")])
    return claims[0]


def test_a_result_that_comes_too_late_is_dropped(run_cli, caplog):
    """Somebody has claimed the message since: what its new owner finds out counts."""
    message = letter()
    message.send()
    journal = open_journal()
    claim = claimed(journal, message)
    spool = current_spool()
    spool.keep_result("mailqueue", SettledClaim(claim, Settlement(State.FAILED, "550 no")))
    journal.give_back(claim)
    claimed(journal, message)
    assert spool.replay().recorded == 0
    assert "its claim ended before its result was recorded" in caplog.text
    assert report.show(message.mailqueue_id)["state"] == "sending"
    assert not spool.waits()


def test_a_result_keeps_the_time_of_its_next_try():
    """To be tried again in an hour, and spooled for half of it: it waits for the other half."""
    message = letter()
    message.send()
    now = time.time()
    directory = current_spool().directory
    early = Spool(directory, Sealer(), clock=lambda: now - 1800)
    claim = claimed(open_journal(), message)
    later = Settlement(State.RETRYING, "451 later", delay=3600)
    early.keep_result("mailqueue", SettledClaim(claim, later))
    assert Spool(directory, Sealer(), clock=lambda: now).replay().recorded == 1
    (record,) = open_journal().read([message.mailqueue_id])
    assert record.state is State.RETRYING
    assert 1790 < (record.due - record.updated).total_seconds() < 1810


def test_a_disk_that_does_not_answer_is_no_refusal(tmp_path, monkeypatch):
    """`WAITAOF` fails after the message was accepted: unknown, and never "nothing was accepted"."""
    monkeypatch.setenv("MAILQUEUE_ON_OUTAGE", "raise")
    monkeypatch.setenv("MAILQUEUE_DURABILITY", "fsync")
    with Valkey(tmp_path / "valkey", appendonly="yes") as server:
        monkeypatch.setenv("MAILQUEUE_BROKER_URL", server.url)
        letter().send()
        with server.client() as client:
            client.config_set("appendonly", "no")
        with pytest.raises(EnqueueUnknown):
            letter().send()
        assert len(report.find(report.Filter())) == 2


def test_files_whose_key_is_gone_do_not_hold_up_those_behind_them(journal_is, run_cli):
    """However many they are: they stay, with the reason, and the others are accepted."""
    journal_is("away")
    gone = Spool(current_spool().directory, Sealer([Fernet.generate_key().decode()]))
    spooled(4)
    for path in files():
        path.write_text(gone._sealer.seal(path.read_text()))
    spooled(5)
    journal_is("back")
    found = flushed(run_cli, status=1)
    assert (found["accepted"], found["remaining"]) == (5, 4)


def test_a_spool_that_can_not_be_looked_into_stops_no_timer(tmp_path):
    """Another user's, say: it is that user's to replay."""
    (tmp_path / "spool").write_text("")
    assert not Spool(tmp_path / "spool", Sealer()).waits()
