"""Ten messages under way (IN_FLIGHT) when workers and journals are lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.line import (
    being_sent,
    copies,
    end_leases,
    fate,
    let_time_pass,
    send,
    states,
)
from tests.scripted import SILENCE, ScriptedServer, Session
from tests.servers import Valkey
from tests.support import Worker, wait_until

pytestmark = pytest.mark.usefixtures("producer")
FEATURES = ("PIPELINING", "CHUNKING", "8BITMIME", "SIZE 100000000")
Answer = bytes | str | None
DURABLE = {"appendonly": "yes", "appendfsync": "always"}


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
