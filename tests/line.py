"""A worker and the scripted SMTP server it delivers to, shared by the tests of a module."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pytest
import redis

from mailqueue import EmailMessage, get_connection
from mailqueue.conf.server import journal_url
from mailqueue.monitor import report
from mailqueue.queue.journal import open_journal
from mailqueue.state import State
from mailqueue.store.client import connect
from tests.nursery import Nursery
from tests.scripted import ScriptedServer, Session
from tests.servers import Valkey
from tests.support import PATIENT, ROOT, Worker, wait_until


@dataclass
class Line:
    """A scripted server, the worker that delivers to it, and the queue that this one takes."""

    server: ScriptedServer
    worker: Worker
    queue: str

    def as_new(self, monkeypatch: pytest.MonkeyPatch) -> ScriptedServer:
        """The server without a past, and this process sending to the queue."""
        monkeypatch.setenv("MAILQUEUE_QUEUE", self.queue)
        self.server.reset()
        return self.server


def line(
    queue: str, *features: str, project: str = "", options: tuple[str, ...] = (), **environment: str
) -> Callable[..., Iterator[Line]]:
    """A fixture: one worker for all tests of a module, since each takes two seconds to start.

    ``project`` is the text of a module with a Celery application to be run in place of ours.
    """

    @pytest.fixture(scope="module")
    def started(
        valkey: Valkey, tmp_path_factory: pytest.TempPathFactory, nursery: Nursery
    ) -> Iterator[Line]:
        directory = tmp_path_factory.mktemp("worker")
        (directory / "project.py").write_text(project)
        app = "project" if project else "workers"
        with ScriptedServer(features=features) as server:
            worker = Worker(
                [
                    sys.executable,
                    *["-m", "celery", "-A", app, "worker", "-c", "1", "-l", "INFO"],
                    # With mingle, a worker waits a second for others to answer.
                    *("--without-mingle", *options),
                ],
                {
                    **os.environ,
                    "EMAIL_HOST": "127.0.0.1",
                    "EMAIL_PORT": str(server.port),
                    "MAILQUEUE_BROKER_URL": valkey.url,
                    "MAILQUEUE_ENQUEUE_TIMEOUT": PATIENT,
                    "MAILQUEUE_HOME": str(directory),
                    "XDG_STATE_HOME": str(directory / "state"),
                    "MAILQUEUE_QUEUE": queue,
                    "MAILQUEUE_RETRY": "1s, 1s, 1s",
                    "PYTHONPATH": f"{directory}{os.pathsep}{ROOT}",
                    **environment,
                },
                cwd=ROOT,
                log=directory / "worker.log",
                nursery=nursery,
            )
            try:
                wait_until(worker.is_ready, 30, worker.explain)
                yield Line(server, worker, queue)
            finally:
                worker.kill()

    return started


# In one step, since workers go on meanwhile: what is settled by now must not come back.
_MAKE_DUE = """
local p, state = KEYS[1], ARGV[1]
for n = 2, #ARGV do
    local message = p .. ':message:' .. ARGV[n]
    local is_meant = state == '' or redis.call('HGET', message, 'state') == state
    if is_meant and redis.call('ZSCORE', p .. ':due', ARGV[n]) then
        redis.call('ZADD', p .. ':due', 1, ARGV[n])
        redis.call('HSET', message, 'due', 1)
    end
end
"""
_STATES = """
local found = {}
for n, key in ipairs(redis.call('KEYS', '*:message:*')) do
    found[n] = redis.call('HGET', key, 'state')
end
return found
"""


class Once:
    """A script that gives one reply, at the n-th time that a phase comes."""

    def __init__(self, phase: str, reply: bytes | str, at: int = 1) -> None:
        self.phase, self.reply, self.at, self.seen = phase, reply, at, 0

    def __call__(self, session: Session, phase: str, command: str) -> bytes | str | None:
        if phase != self.phase:
            return None
        self.seen += 1
        return self.reply if self.seen == self.at else None


def letters(count: int, **changes: object) -> list[EmailMessage]:
    messages = [
        EmailMessage(f"News {n}", "All of it", "news@example.com", [f"to{n}@example.com"])
        for n in range(count)
    ]
    for message in messages:
        vars(message).update(changes)
    return messages


def send(count: int, **changes: object) -> list[EmailMessage]:
    messages = letters(count, **changes)
    assert get_connection().send_messages(messages) == count
    return messages


def states() -> Counter[str]:
    """How many messages are in which state, all at one moment.

    A listing reads one state after the other, and misses what goes back to one that was read.
    """
    client = connect(journal_url(), 30.0)
    return Counter(client.eval(_STATES, 0))


def fate(message: EmailMessage) -> dict:
    return report.show(message.mailqueue_id)


def let_time_pass(redis_url: str, queue: str = "mailqueue") -> None:
    """Let all that waits for a time be due, as it would be hours later."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        ids = client.zrange(f"mailqueue:{{{queue}}}:due", 0, -1)
        client.eval(_MAKE_DUE, 1, f"mailqueue:{{{queue}}}", "", *ids)


def end_leases(redis_url: str, queue: str = "mailqueue", ids: Sequence[str] | None = None) -> None:
    """Let the leases of all that is being sent, or of those, be over, as a minute later."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        if ids is None:
            ids = client.zrange(f"mailqueue:{{{queue}}}:due", 0, -1)
        client.eval(_MAKE_DUE, 1, f"mailqueue:{{{queue}}}", "sending", *ids)


def give_up_tasks(redis_url: str, queue: str) -> None:
    """Let the tasks for what is queued count as lost, as a minute later."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        ids = client.zrange(f"mailqueue:{{{queue}}}:due", 0, -1)
        client.eval(_MAKE_DUE, 1, f"mailqueue:{{{queue}}}", "queued", *ids)


def being_sent(queue: str = "mailqueue") -> list[str]:
    """The ids of the messages that somebody has claimed."""
    return list(open_journal(queue).ids(State.SENDING))


def wait_until_renewed() -> list[str]:
    """Wait until the leases of all that is being sent are longer than before; return the ids."""
    journal = open_journal()
    ids = list(journal.ids(State.SENDING))
    newest = max(record.due for record in journal.read(ids))
    wait_until(lambda: all(record.due > newest for record in journal.read(ids)), 20)
    return ids


def wait_for(expected: dict[str, int], seconds: float = 30) -> None:
    wait_until(
        lambda: states() == expected, seconds, lambda: f"{states()} {report.find(report.Filter())}"
    )


def copies(server: ScriptedServer) -> list[int]:
    """How often each message was accepted."""
    return list(Counter(mail.message_id for mail in server.accepted).values())
