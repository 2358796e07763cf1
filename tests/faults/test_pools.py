"""Each of Celery's pools keeps the promises, with as many connections as it runs tasks at once."""

from __future__ import annotations

import threading

import pytest

from mailqueue import get_connection
from tests.line import copies, letters, states
from tests.pools import POOLS
from tests.scripted import ScriptedServer, Session
from tests.support import wait_until

pytestmark = pytest.mark.usefixtures("producer")
AT_ONCE = {"prefork": 3, "threads": 20, "gevent": 20, "solo": 1}


class AllAtOnce:
    """A script that answers no final dot before so many messages wait for that."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._lock = threading.Lock()
        self._waiting = 0
        self._go = threading.Event()

    def __call__(self, session: Session, phase: str, command: str) -> None:
        if phase == "dot" and not self._go.is_set():
            with self._lock:
                self._waiting += 1
            if self._waiting == self._count:
                self._go.set()
            self._go.wait(60)


@pytest.mark.parametrize("pool", POOLS)
def test_a_pool_has_no_more_connections_than_tasks_at_once(pool, start_worker, monkeypatch):
    """One for each, and kept for the tasks that come next: 250 messages, a task each."""
    monkeypatch.setenv("MAILQUEUE_BATCH_SIZE", "1")
    at_once = AT_ONCE[pool]
    with ScriptedServer(AllAtOnce(at_once)) as server:
        worker = start_worker("-P", pool, "-c", str(at_once), EMAIL_PORT=str(server.port))
        assert get_connection().send_messages(letters(250)) == 250
        wait_until(lambda: states() == {"sent": 250}, 60, worker.explain)
        assert server.sessions == at_once
        assert copies(server) == [1] * 250
        assert worker.stop() == 0
        assert server.verbs().count("QUIT") == at_once
