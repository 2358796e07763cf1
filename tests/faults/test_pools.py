"""Each of Celery's pools keeps the promises, with as many connections as it runs tasks at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable

import pytest

from mailqueue import get_connection
from tests.line import copies, end_leases, give_up_tasks, let_time_pass, letters, states
from tests.pools import EACH_POOL, POOLS
from tests.scripted import CLOSE, ScriptedServer, Session
from tests.servers import Valkey
from tests.support import ROOT, Worker, wait_until

AT_ONCE = {"prefork": 3, "threads": 20, "gevent": 20, "solo": 1}
COUNT = {"prefork": 50, "threads": 250, "gevent": 250, "solo": 50}  # messages, a task each


class AllAtOnce:
    """A script that answers no final dot before so many messages wait for that; then it acts."""

    def __init__(self, count: int, act: Callable[[], object] = lambda: None) -> None:
        self._count = count
        self._act = act
        self._lock = threading.Lock()
        self._waiting = 0
        self._go = threading.Event()

    def __call__(self, session: Session, phase: str, command: str) -> None:
        if phase != "dot" or self._go.is_set():
            return
        with self._lock:
            self._waiting += 1
            is_last = self._waiting == self._count
        if is_last:
            self._act()
            self._go.set()
        self._go.wait(60)


@pytest.fixture
def start(producer, pool, start_worker, monkeypatch) -> Callable[..., Worker]:
    """Start a worker with that pool."""
    monkeypatch.setenv("MAILQUEUE_BATCH_SIZE", "1")

    def start(server: ScriptedServer, **environment: str) -> Worker:
        options = ("-P", pool, "-c", str(AT_ONCE[pool]))
        return start_worker(*options, EMAIL_PORT=str(server.port), **environment)

    return start


@pytest.fixture
def count(pool) -> int:
    return COUNT[pool]


def send(count: int) -> None:
    assert get_connection().send_messages(letters(count)) == count


@pytest.mark.parametrize("pool", POOLS)
def test_a_pool_has_no_more_connections_than_tasks_at_once(pool, count, start):
    """One for each, and kept for the tasks that come next."""
    with ScriptedServer(AllAtOnce(AT_ONCE[pool])) as server:
        worker = start(server)
        send(count)
        wait_until(lambda: states() == {"sent": count}, 60, worker.explain)
        assert server.sessions == AT_ONCE[pool]
        assert copies(server) == [1] * count
        assert worker.stop() == 0
        assert server.verbs().count("QUIT") == AT_ONCE[pool]


@pytest.mark.long
@EACH_POOL
def test_killed_with_all_in_hand_a_worker_leaves_only_these_in_doubt(pool, count, start, redis_url):
    """They are sent again much later, and at most one more copy of each is made."""
    with ScriptedServer() as server:
        first = start(server)
        # The pool's processes too: a reply that they still heard would be on record.
        everything = first.process.pid
        server.script = AllAtOnce(AT_ONCE[pool], lambda: os.killpg(everything, signal.SIGKILL))
        send(count)
        wait_until(lambda: first.process.poll() is not None, 60, first.explain)
        first.kill()
        end_leases(redis_url)
        second = start(server)

        def are_sent() -> bool:
            give_up_tasks(redis_url, "mailqueue")
            return states() == {"sent": count - AT_ONCE[pool], "committing": AT_ONCE[pool]}

        wait_until(are_sent, 60, second.explain)
        assert copies(server) == [1] * count
        let_time_pass(redis_url)
        wait_until(lambda: states()["uncertain"] == AT_ONCE[pool], 30, second.explain)
        let_time_pass(redis_url)
        wait_until(lambda: states() == {"sent": count}, 30, second.explain)
        assert Counter(copies(server)) == {1: count - AT_ONCE[pool], 2: AT_ONCE[pool]}


@pytest.mark.long
@EACH_POOL
def test_told_to_stop_with_all_in_hand_a_worker_finishes_them(pool, count, start):
    """Nothing is in doubt, and nothing more was begun; the next worker does the rest."""
    with ScriptedServer() as server:
        first = start(server)
        server.script = AllAtOnce(AT_ONCE[pool], lambda: first.process.terminate())
        send(count)
        assert first.process.wait(60) == 0
        assert set(states()) == {"sent", "queued"}
        assert states()["sent"] >= AT_ONCE[pool]
        second = start(server)
        wait_until(lambda: states() == {"sent": count}, 90, second.explain)
        assert copies(server) == [1] * count


@pytest.mark.long
@EACH_POOL
def test_connections_that_the_server_closes_are_opened_anew(pool, count, start):
    """After each fifth message, as it does that: nothing fails, no copies, no more at once."""
    seen: Counter[int] = Counter()
    open_now: set[int] = set()
    most = 0

    def script(session: Session, phase: str, command: str) -> bytes | None:
        nonlocal most
        if phase == "connect":
            open_now.add(session.number)
            most = max(most, len(open_now))
        if phase == "MAIL":
            seen[session.number] += 1
            if seen[session.number] > 5:
                open_now.discard(session.number)
                return CLOSE
        return None

    with ScriptedServer(script) as server:
        worker = start(server)
        send(count)
        wait_until(lambda: states() == {"sent": count}, 60, worker.explain)
        assert copies(server) == [1] * count
        assert server.sessions >= count // 5
        assert most <= AT_ONCE[pool]


@pytest.mark.long
@EACH_POOL
def test_a_journal_that_is_away_for_a_moment_costs_no_copy(
    pool, count, start, tmp_path, monkeypatch, stack
):
    """All results wait for it, those of all who have a message in hand."""
    options = {"appendonly": "yes", "appendfsync": "always"}
    journal = stack.enter_context(Valkey(tmp_path / "journal", config=options))
    monkeypatch.setenv("MAILQUEUE_JOURNAL_URL", journal.url)
    with ScriptedServer(AllAtOnce(AT_ONCE[pool], journal.terminate)) as server:
        send(count)
        worker = start(server)
        waits = "waits for the journal"
        wait_until(lambda: worker.log.read_text().count(waits) >= AT_ONCE[pool], 60, worker.explain)
        journal.start()

        def are_sent() -> bool:
            end_leases(journal.url)
            give_up_tasks(journal.url, "mailqueue")
            return states() == {"sent": count}

        wait_until(are_sent, 90, worker.explain)
        assert copies(server) == [1] * count


@pytest.mark.long
@pytest.mark.parametrize("spelt", [["-P", "gevent"], ["--pool=gevent"]])
def test_our_command_has_greenlets_work_at_once(spelt, producer, tmp_path, monkeypatch, stack):
    """Celery replaces Python's sockets before anything of ours is imported."""
    monkeypatch.setenv("MAILQUEUE_BATCH_SIZE", "1")
    server = stack.enter_context(ScriptedServer(AllAtOnce(4)))
    command = [sys.executable, "-m", "mailqueue", "worker", *spelt, "-c", "4", "--without-mingle"]
    environment = {**os.environ, "EMAIL_PORT": str(server.port)}
    worker = Worker(command, environment, cwd=ROOT, log=tmp_path / "worker.log")
    stack.callback(worker.kill)
    assert get_connection().send_messages(letters(20)) == 20
    wait_until(lambda: states() == {"sent": 20}, 60, worker.explain)
    assert (server.sessions, copies(server)) == (4, [1] * 20)
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(30) == 0
