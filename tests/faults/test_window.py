"""Ten messages under way (IN_FLIGHT) when connections, workers and journals are lost."""

from __future__ import annotations

import os
import signal
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
import trustme

from mailqueue import get_connection
from mailqueue.queue.journal import open_journal
from tests.line import (
    Line,
    being_sent,
    copies,
    end_leases,
    fate,
    let_time_pass,
    letters,
    line,
    send,
    states,
    wait_for,
)
from tests.scripted import CLOSE, RESET, SILENCE, ScriptedServer, Session
from tests.servers import Valkey
from tests.support import Worker, wait_until

pytestmark = pytest.mark.usefixtures("producer")
FEATURES = ("PIPELINING", "CHUNKING", "8BITMIME", "SIZE 100000000")
ten = line("ten", *FEATURES, MAILQUEUE_IN_FLIGHT="10")
Answer = bytes | str | None
DURABLE = {"appendonly": "yes", "appendfsync": "always"}


@pytest.fixture
def window(ten: Line, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> ScriptedServer:
    """A server that a worker with IN_FLIGHT = 10 delivers to."""
    return ten.as_new(monkeypatch)


def wait_for_ten(session: Session) -> None:
    """Wait until all replies so far are on record, and the nine messages after this one here."""
    kept = len(session.server.accepted)
    wait_until(lambda: (states()["sent"], states()["committing"]) == (kept, 10), 20)
    # Where the answer to MAIL or RCPT is awaited, this one's BDAT is still to be read.
    whole = b" LAST\r\n"
    while session._received.count(whole) < 9 or not session._received.endswith(b"RSET\r\n"):
        session._receive()


def when_ten(server: ScriptedServer, kept: int, act: Callable[[], Answer]) -> list[int]:
    """Act once, when so many messages are on record as sent and ten are under way.

    What it returns is the answer to the first of the ten.
    """
    done: list[int] = []

    def script(session: Session, phase: str, command: str) -> Answer:
        if phase != "dot" or done or len(server.accepted) != kept:
            return None
        wait_for_ten(session)
        done.append(kept)
        return act()

    server.script = script
    return done


# -- connections that are lost


@pytest.mark.parametrize("reply", [CLOSE, RESET, b"garbage\r\n", b"354 what\r\n"], ids=str)
def test_what_is_under_way_when_the_connection_is_lost_is_in_doubt(reply, window):
    """All ten are uncertain, none failed, none sent again; the others are sent."""
    when_ten(window, 5, lambda: reply)
    messages = send(30)
    wait_for({"sent": 20, "uncertain": 10})
    assert [fate(m)["state"] for m in messages[5:15]] == ["uncertain"] * 10
    assert fate(messages[9])["reply"].startswith("no reply to the last chunk: ")
    assert set(copies(window)) == {1}
    assert {fate(message)["attempts"] for message in messages} == {1}


@pytest.mark.parametrize("phase", ["MAIL", "RCPT", "dot"])
def test_a_421_gives_its_message_back_and_leaves_the_next_in_doubt(phase, window):
    """Its message goes over another connection, at no cost; the nine behind it are uncertain."""
    seen: list[int] = []

    def script(session: Session, now: str, command: str) -> Answer:
        if now == phase and len(window.accepted) == 5 and not seen:
            wait_for_ten(session)
            seen.append(1)
            return "421 4.3.2 going down"
        return CLOSE if seen and session.number == 1 else None

    window.script = script
    messages = send(30)
    wait_for({"sent": 21, "uncertain": 9})
    assert fate(messages[5])["state"] == "sent"
    assert [fate(m)["state"] for m in messages[6:15]] == ["uncertain"] * 9
    assert set(copies(window)) == {1}
    assert {fate(message)["attempts"] for message in messages} == {1}


def test_a_421_to_a_first_connection_charges_nobody(start_worker, redis_url):
    """The message goes back to the queue, those behind it are in doubt, the rest waits a moment."""
    with ScriptedServer(features=FEATURES) as server:
        worker = started(server, start_worker)
        when_ten(server, 0, lambda: "421 going down")
        messages = send(15)
        expected = {"sent": 6, "uncertain": 9}
        wait_until(lambda: states() == expected, 30, worker.explain)
        assert fate(messages[0])["state"] == "sent"
        assert {fate(message)["attempts"] for message in messages} == {1}
        assert set(copies(server)) == {1}


@pytest.fixture
def encrypting(valkey, tmp_path_factory: pytest.TempPathFactory, nursery) -> Iterator[Line]:
    """A worker with EMAIL_USE_TLS."""
    authority = trustme.CA()
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    start = line(
        "encrypted-ten",
        *FEATURES,
        "STARTTLS",
        EMAIL_USE_TLS="1",
        SSL_CERT_FILE=str(path),
        MAILQUEUE_IN_FLIGHT="10",
    )
    for found in start.__wrapped__(valkey, tmp_path_factory, nursery):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        found.server.tls = context
        yield found


def test_encrypted_ten_are_under_way_too(encrypting, redis_url, monkeypatch):
    """Short and long contents arrive as they are; a connection that is lost leaves ten in doubt."""
    server = encrypting.as_new(monkeypatch)
    messages = letters(40)
    messages[30].body = "A line of the letter.\n" * 50_000
    when_ten(server, 5, lambda: CLOSE)
    get_connection().send_messages(messages)
    wait_for({"sent": 30, "uncertain": 10})
    (long,) = [mail for mail in server.accepted if mail.recipients == ["to30@example.com"]]
    assert long.content.partition(b"\r\n\r\n")[2] == b"A line of the letter.\r\n" * 50_000
    assert set(copies(server)) == {1}
    assert server.sessions == 2


# The ten minutes that RFC 5321 gives the final reply, made two seconds.
IMPATIENT = """
from mailqueue.celery import create_app
from mailqueue.delivery.smtp.transaction import PHASE_TIMEOUTS, Phase

PHASE_TIMEOUTS[Phase.DOT] = 2
app = create_app()
"""
impatient = line("impatient-ten", *FEATURES, project=IMPATIENT, MAILQUEUE_IN_FLIGHT="10")


def test_a_reply_that_comes_too_late_leaves_ten_in_doubt(impatient, redis_url, monkeypatch):
    """Each has its time from when it was written; a late reply is taken for no other one's."""
    server = impatient.as_new(monkeypatch)
    when_ten(server, 5, lambda: SILENCE)
    messages = send(30)
    wait_for({"sent": 20, "uncertain": 10})
    assert [fate(m)["state"] for m in messages[5:15]] == ["uncertain"] * 10
    assert set(copies(server)) == {1}


def test_a_connection_carries_no_more_messages_than_it_may(start_worker, redis_url):
    """CONNECTION_MAX_MESSAGES counts those under way as well."""
    with ScriptedServer(features=FEATURES) as server:
        worker = start_worker(
            EMAIL_PORT=str(server.port),
            MAILQUEUE_IN_FLIGHT="10",
            MAILQUEUE_CONNECTION_MAX_MESSAGES="7",
        )
        send(30)
        wait_until(lambda: states() == {"sent": 30}, 30, worker.explain)
        assert copies(server) == [1] * 30
        assert [server.verbs(n).count("MAIL") for n in range(1, 6)] == [7, 7, 7, 7, 2]
        assert server.verbs().count("QUIT") >= 4


# -- claims


def test_a_message_that_another_worker_took_over_stops_no_other(ten, window, redis_url):
    """Its lease ended while it waited for those before it: it isn't sent, the others are."""
    taken = []

    def act() -> None:
        id_ = messages[15].mailqueue_id
        with redis.Redis.from_url(redis_url) as client:
            client.hset(f"mailqueue:{{ten}}:message:{id_}", "due", 1)
        taken.extend(open_journal().claim([(id_, "")])[0])

    when_ten(window, 5, act)
    messages = letters(30)
    get_connection().send_messages(messages)
    wait_for({"sent": 29, "sending": 1})
    assert "was taken over by another worker" in ten.worker.log.read_text()
    assert open_journal().give_back(taken[0])
    open_journal().put_back([taken[0].id])
    wait_for({"sent": 30})
    assert copies(window) == [1] * 30


def test_a_message_that_lost_a_worker_goes_alone(start_worker, redis_url):
    """Nothing else is under way while it is: whatever it does to a worker, it does to no other."""
    counts: dict[str, int] = {}

    def script(session: Session, phase: str, command: str) -> None:
        if phase == "dot":
            counts[session.mail.recipients[0]] = states()["committing"]

    with ScriptedServer(script, FEATURES) as server:
        messages = send(40)
        with redis.Redis.from_url(redis_url) as client:
            client.hset(f"mailqueue:{{mailqueue}}:message:{messages[25].mailqueue_id}", "lost", 1)
        worker = started(server, start_worker)
        wait_until(lambda: states() == {"sent": 40}, 30, worker.explain)
        assert counts["to25@example.com"] == 1
        assert max(counts.values()) >= 9
        assert copies(server) == [1] * 40


# -- workers that die or stop


def started(server: ScriptedServer, start_worker: Callable[..., Worker]) -> Worker:
    return start_worker(EMAIL_PORT=str(server.port), MAILQUEUE_IN_FLIGHT="10")


def silent(server: ScriptedServer, act: Callable[[], None]) -> None:
    """With twenty sent and ten under way: act, and answer no more over that connection."""
    done: list[int] = []

    def then() -> Answer:
        act()
        return SILENCE

    done = when_ten(server, 20, then)
    first = server.script

    def script(session: Session, phase: str, command: str) -> Answer:
        is_silent = done and session.number == 1 and phase == "dot"
        return SILENCE if is_silent else first(session, phase, command)

    server.script = script


def test_killed_with_ten_under_way_there_are_ten_copies_at_most(start_worker, redis_url):
    """None is lost, each of the ten was uncertain first, and no other is copied."""
    with ScriptedServer(features=FEATURES) as server:
        worker = started(server, start_worker)

        def kill() -> None:
            (child,) = worker.children()
            in_hand = being_sent()
            os.kill(child, signal.SIGKILL)
            wait_until(lambda: child not in worker.children(), 30, worker.explain)
            end_leases(redis_url, ids=in_hand)

        silent(server, kill)
        messages = send(60)
        expected = {"sent": 50, "committing": 10}
        wait_until(lambda: states() == expected, 60, worker.explain)
        in_hand = [m for m in messages if fate(m)["state"] == "committing"]
        let_time_pass(redis_url)
        wait_until(lambda: states() == {"sent": 50, "uncertain": 10}, 30, worker.explain)
        let_time_pass(redis_url)
        wait_until(lambda: states() == {"sent": 60}, 30, worker.explain)
        assert {fate(m)["history"][0]["state"] for m in in_hand} == {"uncertain"}
        found = copies(server)
        assert len(found) == 60
        assert sum(found) - 60 <= 10


def test_a_worker_told_to_stop_reads_the_replies_to_what_is_under_way(start_worker, redis_url):
    """SIGTERM with ten under way: they are recorded as sent, nothing more is begun."""
    with ScriptedServer(features=FEATURES) as server:
        worker = started(server, start_worker)

        def stop() -> None:
            worker.process.terminate()
            wait_until(lambda: "Warm shutdown" in worker.log.read_text(), 20)

        when_ten(server, 20, stop)
        send(100)
        assert worker.process.wait(30) == 0
        assert states() == {"sent": 30, "queued": 70}
        second = started(server, start_worker)
        wait_until(lambda: states() == {"sent": 100}, 60, second.explain)
        assert copies(server) == [1] * 100


def test_all_processes_told_to_stop_leave_ten_in_doubt(start_worker, redis_url):
    """SIGTERM to the pool's process too: what nobody reads the reply to is uncertain at once."""
    with ScriptedServer(features=FEATURES) as server:
        worker = started(server, start_worker)
        silent(server, lambda: os.killpg(worker.process.pid, signal.SIGTERM))
        messages = send(60)
        wait_until(lambda: worker.process.poll() is not None, 40, worker.explain)
        assert states() == {"sent": 20, "uncertain": 10, "queued": 30}
        replies = [fate(m)["reply"] for m in messages if fate(m)["state"] == "uncertain"]
        assert {"stopped after the final dot" in reply for reply in replies} == {True}
        second = started(server, start_worker)
        expected = {"sent": 50, "uncertain": 10}
        wait_until(lambda: states() == expected, 60, second.explain)
        assert set(copies(server)) == {1}


# -- a journal that is away


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Valkey]:
    """A journal of its own, apart from the broker."""
    with Valkey(tmp_path / "journal", config=DURABLE) as found:
        monkeypatch.setenv("MAILQUEUE_JOURNAL_URL", found.url)
        yield found


@pytest.mark.parametrize("stops", [False, True], ids=["goes on", "is stopped"])
def test_ten_results_outlast_a_journal_that_is_away(
    stops, journal, start_worker, redis_url, queue_settings
):
    """The replies are read, nothing more is begun, and all ten results go on record later."""
    with ScriptedServer(features=FEATURES) as server:
        worker = started(server, start_worker)
        when_ten(server, 20, journal.terminate)
        send(60)
        wait_until(lambda: "waits for the journal" in worker.log.read_text(), 30, worker.explain)
        if stops:
            assert worker.stop() == 0
        wait_until(lambda: len(server.accepted) == 30, 10)
        assert server.verbs().count("MAIL") == 30
        journal.start()
        end_leases(journal.url)
        if stops:
            worker = started(server, start_worker)
        wait_until(lambda: states() == {"sent": 60}, 60, worker.explain)
        assert copies(server) == [1] * 60
