"""Broker or journal is away: the producer gets a clear error in time, and nothing half done."""

from __future__ import annotations

import logging
import os
import select
import socket
import threading
from collections.abc import Iterator

import pytest

from mailqueue import EmailMessage, get_connection
from mailqueue.errors import EnqueueUnknown, ImproperlyConfigured, JournalUnavailable
from mailqueue.monitor import report
from mailqueue.queue.journal import open_journal
from mailqueue.worker.timer import Timer
from tests.patience import within
from tests.servers import Valkey
from tests.support import wait_until

TIMEOUT = 1.0  # seconds, as ENQUEUE_TIMEOUT; the default of 2 s would only make the tests longer
IN_TIME = 2 * TIMEOUT  # far from the minutes that libraries wait by default


@pytest.fixture
def black_hole() -> Iterator[int]:
    """The port of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        yield listener.getsockname()[1]


@pytest.fixture(autouse=True)
def queue(producer, monkeypatch) -> None:
    monkeypatch.setenv("MAILQUEUE_ENQUEUE_TIMEOUT", str(TIMEOUT))


def letter() -> EmailMessage:
    return EmailMessage("Hello", "A letter", "from@example.com", ["to@example.com"])


def timed_error(message: EmailMessage, kind: type[Exception]) -> str:
    with within(IN_TIME), pytest.raises(kind) as caught:
        message.send()
    return str(caught.value)


def test_a_stopped_server_is_a_clear_error_in_time(monkeypatch, unused_port):
    """Nobody listens: the error says where and what to do, and nothing was accepted."""
    monkeypatch.setenv("MAILQUEUE_BROKER_URL", f"redis://:secret@127.0.0.1:{unused_port}/0")
    error = timed_error(letter(), JournalUnavailable)
    assert f"the journal at 127.0.0.1:{unused_port} can't be reached" in error
    assert ".." not in error
    assert "MAILQUEUE['BROKER_URL']" in error
    assert "secret" not in error


def test_a_server_that_never_answers_is_a_clear_error_in_time(monkeypatch, black_hole):
    """The port accepts and stays silent: `send()` doesn't."""
    monkeypatch.setenv("MAILQUEUE_BROKER_URL", f"redis://127.0.0.1:{black_hole}/0")
    assert "can't be reached" in timed_error(letter(), JournalUnavailable)


def test_without_the_embedded_server_the_error_says_how_to_start_it(monkeypatch):
    """A newcomer who sends before `mailqueue up` is told so."""
    monkeypatch.delenv("MAILQUEUE_BROKER_URL")
    assert "mailqueue up" in timed_error(letter(), JournalUnavailable)


def test_fail_silently_returns_nothing_sent(monkeypatch, unused_port, caplog):
    """Zero, and a line in the log."""
    monkeypatch.setenv("MAILQUEUE_BROKER_URL", f"redis://127.0.0.1:{unused_port}/0")
    assert get_connection(fail_silently=True).send_messages([letter()]) == 0
    assert "1 messages were not queued" in caplog.text


@pytest.mark.parametrize("broker", ["unused_port", "black_hole"])
def test_with_the_broker_away_and_the_journal_up_mail_is_accepted_in_time(
    broker, request, monkeypatch, redis_url
):
    """The publish is best effort: the message waits in the journal, and its id is known."""
    monkeypatch.setenv("MAILQUEUE_JOURNAL_URL", redis_url)
    port = request.getfixturevalue(broker)
    monkeypatch.setenv("MAILQUEUE_BROKER_URL", f"redis://127.0.0.1:{port}/0")
    message = letter()
    with within(IN_TIME):
        assert message.send() == 1
    assert report.show(message.mailqueue_id)["state"] == "queued"


def test_a_broker_that_is_away_holds_up_one_send_and_not_the_next(
    black_hole, monkeypatch, redis_url, caplog
):
    """Every request of a web site would wait for it otherwise."""
    monkeypatch.setenv("MAILQUEUE_JOURNAL_URL", redis_url)
    monkeypatch.setenv("MAILQUEUE_BROKER_URL", f"redis://127.0.0.1:{black_hole}/0")
    get_connection().send_messages([letter() for _ in range(1100)])  # in nine portions
    letter().send()
    said = f"no task was published, a worker's timer will do it: redis://127.0.0.1:{black_hole}/0: "
    assert caplog.text.count(said) == 1
    assert report.status()["queues"][0]["states"]["queued"] == 1101


def test_what_a_broker_did_not_take_is_published_as_soon_as_it_is_back(
    monkeypatch, redis_url, unused_port
):
    """The timer finds a message due that had no task, and doesn't wait out its grace."""
    monkeypatch.setenv("MAILQUEUE_JOURNAL_URL", redis_url)
    monkeypatch.setenv("MAILQUEUE_BROKER_URL", f"redis://127.0.0.1:{unused_port}/0")
    message = letter()
    message.send()
    journal = open_journal()
    journal.put_back([message.mailqueue_id])  # the first grace is over
    Timer().round()
    assert report.show(message.mailqueue_id)["state"] == "queued"
    (released,) = journal.release()
    assert released.id == message.mailqueue_id


def test_a_process_that_forks_while_others_send_can_send_too(monkeypatch, redis_url):
    """Like a web server that preloads: sockets and locked locks of the parent aren't the child's.

    By `os.fork`: multiprocessing has kombu clean up in the child first, where redis-py 8 may wait
    for such a lock for ever.
    """
    monkeypatch.setenv("MAILQUEUE_BROKER_URL", redis_url)
    monkeypatch.setenv("MAILQUEUE_ENQUEUE_TIMEOUT", "5")
    letter().send()
    done = threading.Event()

    def send_all_the_time() -> None:
        while not done.is_set():
            letter().send()

    threads = [threading.Thread(target=send_all_the_time) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        children = [send_in_a_child() for _ in range(20)]
        ids = {read_within(pipe, 20) for pipe in children}
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert len(ids) == len(children)
    assert {report.show(id_)["state"] for id_ in ids} == {"queued"}


def send_in_a_child() -> int:
    """Fork; return the pipe by which the child tells its message's id."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        try:
            message = letter()
            message.send()
            os.write(writing, message.mailqueue_id.encode())
        finally:
            os._exit(0)
    os.close(writing)
    return reading


def read_within(pipe: int, seconds: float) -> str:
    readable, _, _ = select.select([pipe], [], [], seconds)
    assert readable, "the child hangs"
    try:
        return os.read(pipe, 100).decode()
    finally:
        os.close(pipe)


def test_an_answer_that_got_lost_is_told_apart_and_makes_no_second_copy(tmp_path, monkeypatch):
    """The journal stops during the accept and goes on: sending the same object is one message."""
    with Valkey(tmp_path / "valkey") as server:
        monkeypatch.setenv("MAILQUEUE_BROKER_URL", server.url)
        letter().send()  # connections are open from here on
        message = letter()
        server.suspend()
        try:
            error = timed_error(message, EnqueueUnknown)
        finally:
            server.resume()
        assert "may have been accepted or not" in error
        # What was sent to the stopped server is carried out as soon as it goes on.
        wait_until(lambda: len(report.find(report.Filter())) == 2, 5)
        assert message.send() == 1
        assert len(report.find(report.Filter())) == 2
        assert report.show(message.mailqueue_id)["state"] == "queued"


def test_a_full_server_refuses_loudly(tmp_path, monkeypatch):
    """Out of memory under noeviction: an error, and what was accepted before is kept."""
    with Valkey(tmp_path / "valkey") as server:
        monkeypatch.setenv("MAILQUEUE_BROKER_URL", server.url)
        letter().send()
        with server.client() as client:
            client.config_set("maxmemory", "1mb")
        error = timed_error(letter(), JournalUnavailable)
        assert "is full, and takes no writes" in error
        assert "maxmemory" in error
        assert len(report.find(report.Filter())) == 1


def test_durability_that_the_server_can_not_give_is_refused(tmp_path, monkeypatch):
    """`fsync` on a server without an append-only file is a configuration error, not a hope."""
    monkeypatch.setenv("MAILQUEUE_DURABILITY", "fsync")
    with Valkey(tmp_path / "valkey") as server:
        monkeypatch.setenv("MAILQUEUE_BROKER_URL", server.url)
        with pytest.raises(ImproperlyConfigured, match="append-only file"):
            letter().send()


class MailingHandler(logging.Handler):
    """Sends each error by mail, like Django's AdminEmailHandler."""

    def emit(self, record: logging.LogRecord) -> None:
        get_connection(fail_silently=True).send_messages([letter()])


@pytest.fixture
def mailing_handler() -> Iterator[None]:
    handler = MailingHandler(logging.WARNING)
    logging.getLogger().addHandler(handler)
    yield
    logging.getLogger().removeHandler(handler)


def test_errors_that_are_mailed_do_not_run_in_a_circle(monkeypatch, unused_port, mailing_handler):
    """With the journal away, the mail about an error can't be queued, and that is that."""
    monkeypatch.setenv("MAILQUEUE_BROKER_URL", f"redis://127.0.0.1:{unused_port}/0")
    with within(2 * IN_TIME):
        logging.getLogger("application").error("Something broke")


def test_a_mailed_warning_about_the_broker_is_mailed_once(
    monkeypatch, redis_url, unused_port, mailing_handler
):
    """With only the broker away, the message and one about the trouble are accepted."""
    monkeypatch.setenv("MAILQUEUE_JOURNAL_URL", redis_url)
    monkeypatch.setenv("MAILQUEUE_BROKER_URL", f"redis://127.0.0.1:{unused_port}/0")
    assert letter().send() == 1
    assert len(report.find(report.Filter())) == 2
