"""The producer's rows of the table of faults that `test_outage.py` doesn't show."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from mailqueue import EmailMessage, get_connection
from mailqueue.errors import EnqueueUnknown, ImproperlyConfigured, JournalUnavailable
from mailqueue.events import counts
from mailqueue.monitor import report
from tests.line import states
from tests.servers import Valkey
from tests.support import wait_until

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("producer")


@pytest.fixture
def black_hole() -> Iterator[int]:
    """The port of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        yield listener.getsockname()[1]


def letter(to: str = "to@example.com") -> EmailMessage:
    return EmailMessage("Hello", "A letter", "from@example.com", [to])


def test_an_answer_that_got_lost_makes_one_copy(
    tmp_path, monkeypatch, start_worker, smtp_server, queue_settings
):
    """Row: journal stopped during accept, then continues; the same object again is one copy."""
    with Valkey(tmp_path / "valkey") as server:
        url = server.url
        monkeypatch.setenv("MAILQUEUE_JOURNAL_URL", url)
        monkeypatch.setenv("MAILQUEUE_ENQUEUE_TIMEOUT", "1")
        worker = start_worker(MAILQUEUE_JOURNAL_URL=url)
        letter().send()
        message = letter("again@example.com")
        server.suspend()
        try:
            with pytest.raises(EnqueueUnknown) as caught:
                message.send()
        finally:
            server.resume()
        assert message.send() == 1
        assert caught.value.ids == (message.mailqueue_id,)
        wait_until(lambda: states() == {"sent": 2}, 30, worker.explain)
        worker.stop()
    assert [r.recipients for r in smtp_server.received].count(["again@example.com"]) == 1


KILLED_BEFORE_PUBLISH = """
import os, signal
import mailqueue.queue.producer as queue
from mailqueue import send_mail

queue.publish = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
send_mail("Hello", "A letter", "from@example.com", ["to@example.com"])
"""


def test_a_program_killed_after_the_accept_loses_nothing(start_worker, smtp_server):
    """Row: killed between accept and publish; a worker's timer finds the message."""
    program = subprocess.run([sys.executable, "-c", KILLED_BEFORE_PUBLISH], cwd=ROOT)
    assert program.returncode == -signal.SIGKILL
    assert states() == {"queued": 1}
    worker = start_worker()
    wait_until(lambda: states() == {"sent": 1}, 20, worker.explain)
    assert len(smtp_server.received) == 1


@pytest.mark.parametrize("broker", ["unused_port", "black_hole"])
def test_with_the_broker_away_mail_is_sent_when_a_worker_can(
    broker, request, monkeypatch, redis_url, start_worker, smtp_server
):
    """Row: broker down or hanging, journal up; what was accepted is sent from the journal."""
    monkeypatch.setenv("MAILQUEUE_JOURNAL_URL", redis_url)
    monkeypatch.setenv("MAILQUEUE_ENQUEUE_TIMEOUT", "1")
    port = request.getfixturevalue(broker)
    monkeypatch.setenv("MAILQUEUE_BROKER_URL", f"redis://127.0.0.1:{port}/0")
    assert get_connection().send_messages([letter() for _ in range(10)]) == 10
    worker = start_worker()
    wait_until(lambda: states() == {"sent": 10}, 30, worker.explain)
    assert set(Counter(smtp_server.message_ids()).values()) == {1}


def test_one_idempotency_key_in_parallel_is_one_message(start_worker, smtp_server):
    """Row: the same idempotency key 100 times in parallel."""
    together = threading.Barrier(100)

    def send(_: int) -> str:
        message = letter()
        message.idempotency_key = "order 4711"
        together.wait(300)
        assert message.send() == 1
        return message.mailqueue_id

    with ThreadPoolExecutor(100) as threads:
        ids = set(threads.map(send, range(100)))
    assert len(ids) == 1
    worker = start_worker()
    wait_until(lambda: states() == {"sent": 1}, 20, worker.explain)
    assert len(smtp_server.received) == 1


def test_nothing_to_send_is_nothing_accepted():
    """Row: empty list, and message without recipients: 0."""
    unaddressed = EmailMessage("Hello", "A letter", "from@example.com", [])
    assert get_connection().send_messages([]) == 0
    assert get_connection().send_messages(iter([])) == 0
    assert unaddressed.send() == 0
    assert get_connection().send_messages([unaddressed]) == 0
    assert states() == {}


@pytest.mark.parametrize("bad", [0, 4, 9])
def test_one_bad_message_in_a_list_is_an_error_before_anything_is_accepted(bad):
    """Row: one bad message in a list of ten; the caller gets the error, with `fail_silently` too.

    It is the program's mistake, and no outage.
    """
    messages = [letter() for _ in range(10)]
    messages[bad].subject = "two\nlines"
    for fail_silently in (False, True):
        with pytest.raises(ValueError, match=r"newline|Header"):
            get_connection(fail_silently=fail_silently).send_messages(messages)
    assert states() == {}


def test_with_everything_down_failing_silently_leaves_a_trace(monkeypatch, unused_port, caplog):
    """Row: `fail_silently=True` with everything down: 0, a log line, a counter."""
    monkeypatch.setenv("MAILQUEUE_BROKER_URL", f"redis://127.0.0.1:{unused_port}/0")
    monkeypatch.setenv("EMAIL_PORT", str(unused_port))
    before = counts().get("not_queued", 0)
    connection = get_connection(fail_silently=True)
    assert connection.send_messages([letter() for _ in range(3)]) == 0
    assert caplog.text.count("3 messages were not queued") == 1
    assert counts()["not_queued"] == before + 3


SITE = """
import os
from mailqueue import EmailMessage

def send():
    message = EmailMessage("Hello", "A letter", "from@example.com", ["to@example.com"])
    message.send()
    return message.mailqueue_id

send()  # preloaded: the sockets are open before gunicorn forks

def application(environ, start_response):
    answer = f"{os.getpid()} {send()}".encode()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [answer]
"""


@contextmanager
def web_server(directory: Path, workers: int) -> Iterator[str]:
    """A site under `gunicorn --preload`; its URL."""
    (directory / "site_that_mails.py").write_text(SITE)
    log = directory / "gunicorn.log"
    options = [
        "--preload",
        "--workers",
        str(workers),
        "--bind",
        "127.0.0.1:0",
        "--no-control-socket",
    ]
    command = [sys.executable, "-m", "gunicorn", *options, "site_that_mails:application"]
    with log.open("wb") as output:
        server = subprocess.Popen(command, cwd=directory, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: log.read_text().count("Booting worker") == workers, 30, log.read_text)
        found = re.search(r"Listening at: (\S+)", log.read_text())
        assert found, log.read_text()
        yield found[1]
    finally:
        server.terminate()
        server.wait()


def commands_by_connection(url: str) -> dict[str, int]:
    """How many commands each connection to the server has sent."""
    with redis.Redis.from_url(url, decode_responses=True) as client:
        return {each["id"]: int(each["tot-cmds"]) for each in client.client_list()}


def test_each_process_of_a_preforked_web_server_has_its_own_connections(
    tmp_path, redis_url, monkeypatch
):
    """Row: gunicorn `--preload`; no socket of the parent is used after the fork."""
    with web_server(tmp_path, workers=3) as url:
        before = commands_by_connection(redis_url)

        def request(_: int) -> tuple[str, str]:
            with urllib.request.urlopen(url) as answer:
                pid, id_ = answer.read().decode().split()
            return pid, id_

        found: list[tuple[str, str]] = []

        def several_processes_answered() -> bool:
            with ThreadPoolExecutor(6) as threads:
                found.extend(threads.map(request, range(30)))
            return len({pid for pid, _ in found}) > 1

        wait_until(several_processes_answered, 30)
        after = commands_by_connection(redis_url)
    assert len({id_ for _, id_ in found}) == len(found)
    assert {report.show(id_)["state"] for _, id_ in found} == {"queued"}
    inherited = before.keys() & after.keys()
    assert inherited, "the parent's connections should still be open"
    assert {id_: after[id_] for id_ in inherited} == {id_: before[id_] for id_ in inherited}


def test_a_full_journal_refuses_mail_and_takes_results(
    tmp_path, monkeypatch, start_worker, smtp_server
):
    """Row: journal full (`maxmemory`, `noeviction`): refused loudly, workers live on.

    What a worker has claimed it sends, since results make room; it claims no more until there is
    some. Nothing is accepted in part, with large attachments either.
    """
    with Valkey(tmp_path / "valkey") as server, server.client() as client:
        url = server.url
        monkeypatch.setenv("MAILQUEUE_JOURNAL_URL", url)
        worker = start_worker(MAILQUEUE_JOURNAL_URL=url)
        seen: list[int] = []

        def fill_at_the_fifth() -> None:
            seen.append(1)
            if len(seen) == 5:
                client.config_set("maxmemory", "1mb")

        # By then the worker has claimed eight, and eight more ahead.
        smtp_server.before_reply = fill_at_the_fifth
        get_connection().send_messages([letter() for _ in range(20)])
        wait_until(lambda: states() == {"sent": 16, "queued": 4}, 30, worker.explain)
        assert len(smtp_server.received) == 16
        heavy = letter()
        heavy.attach("a.bin", b"x" * 100_000, "application/octet-stream")
        for message in (letter(), heavy):
            with pytest.raises(JournalUnavailable, match="maxmemory"):
                message.send()
        assert states() == {"sent": 16, "queued": 4}
        assert worker.process.poll() is None
        client.config_set("maxmemory", "0")
        wait_until(lambda: states() == {"sent": 20}, 60, worker.explain)
        worker.stop()
    assert sorted(Counter(smtp_server.message_ids()).values()) == [1] * 20


def test_a_program_refuses_a_journal_that_evicts(tmp_path, monkeypatch):
    """Row: eviction policy set: refused at start-up, here at the first `send()`.

    It is no outage either: nothing is spooled.
    """
    monkeypatch.setenv("MAILQUEUE_ON_OUTAGE", "spool")
    with Valkey(tmp_path / "valkey") as server:
        monkeypatch.setenv("MAILQUEUE_BROKER_URL", server.url)
        with server.client() as client:
            client.config_set("maxmemory-policy", "allkeys-lru")
        with pytest.raises(ImproperlyConfigured, match="set it to noeviction"):
            letter().send()
        assert states() == {}
