"""What `health`, `status` and `check` say in each situation of the table in docs/operating.md."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from mailqueue.conf.server import journal_url
from mailqueue.delivery.opening import mailer_name, shared_breaker
from mailqueue.delivery.trouble import Misconfigured, ServerTrouble
from mailqueue.local.heartbeat import living
from mailqueue.queue.broker import producer_app
from mailqueue.queue.journal import Journal, Policy, Settlement, open_journal
from mailqueue.state import State
from mailqueue.store.client import connect
from tests.contracts.journals import entry
from tests.line import send, states
from tests.nursery import Nursery
from tests.packaging.test_documents import OPERATING, tables
from tests.ports import HeldPort
from tests.proxy import Proxy
from tests.scripted import ScriptedServer
from tests.servers import Valkey
from tests.support import PATIENT, ROOT, Worker, wait_until

TABLE = {row["situation"]: row for row in tables(OPERATING) if "what is true" in row}
ANYTHING_ELSE = "1"  # of the server's databases: one in which nobody ever worked


@dataclass
class Rig:
    """A journal and a broker on two servers, a mail server, and a worker between them."""

    journal_server: Valkey
    broker: Proxy
    broker_port: int
    mail_server: ScriptedServer
    worker: Worker
    environment: dict[str, str]

    def beat(self) -> Any:
        """What the worker said last of itself."""
        return next((b for b in open_journal().pulse().beats if b.queues is not None), None)

    @property
    def name(self) -> str:
        return str(self.beat().worker)


def start(directory: Path, nursery: Nursery, environment: dict[str, str], *options: str) -> Worker:
    directory.mkdir()
    base = ["-m", "celery", "-A", "workers", "worker", "-c", "1", "-l", "INFO", "--without-mingle"]
    return Worker(
        [sys.executable, *base, *options],
        {**os.environ, **environment, "MAILQUEUE_HOME": str(directory)},
        cwd=ROOT,
        log=directory / "worker.log",
        nursery=nursery,
    )


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, nursery: Nursery) -> Iterator[Rig]:
    """Servers and worker for all situations; a row leaves them as they were."""
    directory = tmp_path_factory.mktemp("situations")
    with ExitStack() as stack:
        journal = stack.enter_context(Valkey(directory / "journal", appendonly="yes"))
        broker_server = stack.enter_context(Valkey(directory / "broker"))
        broker = stack.enter_context(Proxy(broker_server.port))
        mail = stack.enter_context(ScriptedServer())
        environment = {
            "EMAIL_BACKEND": "mailqueue.backends.queue.EmailBackend",
            "EMAIL_HOST": "127.0.0.1",
            "EMAIL_PORT": str(mail.port),
            "MAILQUEUE_JOURNAL_URL": journal.url,
            "MAILQUEUE_BROKER_URL": f"redis://127.0.0.1:{broker.port}/0",
            "MAILQUEUE_ENQUEUE_TIMEOUT": PATIENT,
        }
        worker = start(directory / "worker", nursery, environment)
        stack.callback(worker.kill)
        wait_until(worker.is_ready, 30, worker.explain)
        yield Rig(journal, broker, broker_server.port, mail, worker, environment)


@pytest.fixture
def settled(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Rig:
    """This process with the worker's settings, and a journal without a past but for its beats."""
    for name, value in rig.environment.items():
        monkeypatch.setenv(name, value)
    client = connect(journal_url(), 30.0)
    for key in client.scan_iter(match="*"):
        if not key.endswith((":workers", ":beats")):
            client.delete(key)
    wait_until(lambda: rig.beat() and rig.beat().queues == ("mailqueue",), 20, rig.worker.explain)
    return rig


# -- the situations, each as it is made and ended


def patient(queue: str = "mailqueue") -> Journal:
    """The journal, whose messages no timer publishes while a test looks at them."""
    return Journal(connect(journal_url(), 30.0), queue, Policy(grace=3600))


def age(key: str, seconds: float) -> None:
    """Have all of that sorted set be older."""
    client = connect(journal_url(), 30.0)
    for member, score in client.zrange(f"mailqueue:{{mailqueue}}:{key}", 0, -1, withscores=True):
        client.zadd(f"mailqueue:{{mailqueue}}:{key}", {member: score - seconds * 1000})


def wait(count: int, seconds: float, queue: str = "mailqueue") -> None:
    """Have so many messages wait for that long."""
    patient(queue).accept([entry(f"m{n}") for n in range(count)])
    age("state:queued", seconds)


@contextmanager
def all_is_well(rig: Rig) -> Iterator[dict[str, str]]:
    yield {}


@contextmanager
def a_healthy_backlog(rig: Rig) -> Iterator[dict[str, str]]:
    wait(300, 600)
    patient().claim([("m0", "")])
    yield {}


@contextmanager
def held_and_scheduled(rig: Rig) -> Iterator[dict[str, str]]:
    journal = patient()
    later = datetime.now(UTC) + timedelta(days=2)
    journal.accept([entry("held"), entry("later", send_at=later)])
    journal.hold(["held"])
    age("state:held", 7200)
    yield {}


@contextmanager
def refused_for_now(rig: Rig) -> Iterator[dict[str, str]]:
    journal = patient()
    journal.accept([entry("m")])
    (claim,), _ = journal.claim([("m", "")])
    journal.settle(claim, Settlement(State.RETRYING, "451 4.7.1 greylisted", delay=900))
    age("state:retrying", 600)
    yield {}


@contextmanager
def a_queue_of_old(rig: Rig) -> Iterator[dict[str, str]]:
    journal = patient("winter-sale")
    journal.accept([entry("m")])
    journal.cancel(["m"])
    yield {}


@contextmanager
def one_database(rig: Rig) -> Iterator[dict[str, str]]:
    open_journal().beat("mail1:4711", ["mailqueue"], [mailer_name()])
    yield {"MAILQUEUE_BROKER_URL": journal_url(), "MAILQUEUE_JOURNAL_URL": ""}


@contextmanager
def a_cache_beside_it(rig: Rig) -> Iterator[dict[str, str]]:
    connect(journal_url(), 30.0).set(":1:views.decorators.cache", "x")
    yield {}


@contextmanager
def no_worker(rig: Rig) -> Iterator[dict[str, str]]:
    yield {"MAILQUEUE_JOURNAL_URL": rig.journal_server.url[:-1] + ANYTHING_ELSE}


@contextmanager
def a_worker_was_killed(rig: Rig) -> Iterator[dict[str, str]]:
    wait(1, 0)
    rig.worker.process.send_signal(signal.SIGSTOP)  # which says no more of itself than a dead one
    age("workers", 12)
    yield {}
    rig.worker.process.send_signal(signal.SIGCONT)


@contextmanager
def told_to_take_others(rig: Rig, *others: str) -> Iterator[dict[str, str]]:
    control = producer_app().control
    for other in others:
        control.add_consumer(other)
    control.cancel_consumer("mailqueue")
    wait_until(lambda: rig.beat().queues == others, 20, rig.worker.explain)
    yield {}
    control.add_consumer("mailqueue")
    for other in others:
        control.cancel_consumer(other)
    wait_until(lambda: rig.beat().queues == ("mailqueue",), 20, rig.worker.explain)


@contextmanager
def cancel_consumer(rig: Rig) -> Iterator[dict[str, str]]:
    with told_to_take_others(rig):
        yield {}


@contextmanager
def other_queues(rig: Rig) -> Iterator[dict[str, str]]:
    with told_to_take_others(rig, "celery"):
        yield {}


@contextmanager
def a_queue_that_nobody_serves(rig: Rig) -> Iterator[dict[str, str]]:
    patient("newsletter").accept([entry("m")])
    yield {}


@contextmanager
def a_misspelt_queue(rig: Rig) -> Iterator[dict[str, str]]:
    wait_until(lambda: connect(journal_url(), 30.0).exists("mailqueue:queues"), 10)
    yield {"MAILQUEUE_QUEUE": "mailqeue"}


@contextmanager
def the_pool_hangs(rig: Rig) -> Iterator[dict[str, str]]:
    (child,) = rig.worker.children()
    os.kill(child, signal.SIGSTOP)
    send(1)
    age("state:queued", 90)
    yield {}
    os.kill(child, signal.SIGCONT)
    wait_until(lambda: states() == {"sent": 1}, 30, rig.worker.explain)


@contextmanager
def sending_for_ever(rig: Rig) -> Iterator[dict[str, str]]:
    journal = Journal(connect(journal_url(), 30.0), "mailqueue", Policy(grace=3600, lease=3600))
    journal.accept([entry("m")])
    journal.claim([("m", "")])
    then = (time.time() - 1000) * 1000
    connect(journal_url(), 30.0).hset("mailqueue:{mailqueue}:message:m", "updated", round(then))
    yield {}


@contextmanager
def trouble(mailer: str, found: ServerTrouble, seconds: float) -> Iterator[dict[str, str]]:
    """A mailer in trouble since then; mail waits for it."""
    breaker = shared_breaker(mailer)
    breaker.note_failure(found)
    key = f"mailqueue:{{mailer:{mailer}}}:breaker"
    client = connect(journal_url(), 30.0)
    since = int(client.hget(key, "since"))
    client.hset(key, mapping={"since": since - round(seconds * 1000), "not_before": since + 60_000})
    wait(1, seconds)
    yield {}
    breaker.close()


@contextmanager
def a_refused_login(rig: Rig) -> Iterator[dict[str, str]]:
    with trouble(mailer_name(), Misconfigured("535 5.7.8 no such user"), 5):
        yield {"EMAIL_HOST_USER": "ann", "EMAIL_HOST_PASSWORD": "wrong"}


@contextmanager
def an_alarm_of_a_mailer_of_old(rig: Rig) -> Iterator[dict[str, str]]:
    with trouble("old.example.com:25", Misconfigured("535 5.7.8 no such user"), 5):
        yield {}


@contextmanager
def no_mail_server(rig: Rig) -> Iterator[dict[str, str]]:
    with trouble(mailer_name(), ServerTrouble("can't connect: refused"), 90), HeldPort() as nobody:
        yield {"EMAIL_PORT": str(nobody)}


@contextmanager
def a_mail_server_restarts(rig: Rig) -> Iterator[dict[str, str]]:
    with trouble(mailer_name(), ServerTrouble("421 shutting down"), 10):
        yield {}


@contextmanager
def configured(rig: Rig, **options: object) -> Iterator[dict[str, str]]:
    with redis.Redis.from_url(rig.journal_server.url, decode_responses=True) as client:
        before = {name: client.config_get(name)[name] for name in options}
        for name, value in options.items():
            client.config_set(name, value)
        yield {}
        for name, value in before.items():
            client.config_set(name, value)


@contextmanager
def a_full_journal(rig: Rig) -> Iterator[dict[str, str]]:
    with configured(rig, maxmemory=1):
        yield {}


@contextmanager
def a_journal_that_evicts(rig: Rig) -> Iterator[dict[str, str]]:
    with configured(rig, **{"maxmemory-policy": "volatile-lru"}):
        yield {}


@contextmanager
def a_replica(rig: Rig) -> Iterator[dict[str, str]]:
    with HeldPort() as nobody, redis.Redis.from_url(rig.journal_server.url) as client:
        client.replicaof("127.0.0.1", nobody)
        yield {}
        client.replicaof("NO", "ONE")


@contextmanager
def no_journal(rig: Rig) -> Iterator[dict[str, str]]:
    nobody = rig.journal_server.url.replace("127.0.0.1", "127.0.0.9")
    yield {"MAILQUEUE_JOURNAL_URL": nobody}


@contextmanager
def no_embedded_server(rig: Rig) -> Iterator[dict[str, str]]:
    yield {"MAILQUEUE_JOURNAL_URL": "", "MAILQUEUE_BROKER_URL": ""}


@contextmanager
def a_wrong_setting(rig: Rig) -> Iterator[dict[str, str]]:
    yield {"MAILQUEUE_RETRY": "1 fortnight"}


@contextmanager
def no_broker(rig: Rig) -> Iterator[dict[str, str]]:
    with HeldPort() as nobody:
        rig.broker.lead_to(nobody)
        rig.broker.cut()
        wait_until(lambda: rig.beat().queues == (), 20, rig.worker.explain)
        yield {}
    rig.broker.lead_to(rig.broker_port)


SITUATIONS: dict[str, Callable[[Rig], Any]] = {
    "all is well": all_is_well,
    "a backlog, from which workers take all the time": a_healthy_backlog,
    "mail is held, or scheduled for later": held_and_scheduled,
    "mail was refused for now, and waits for its next try": refused_for_now,
    "an empty queue of former times that nobody takes": a_queue_of_old,
    "broker and journal are one database": one_database,
    "somebody's cache is in the journal's database": a_cache_beside_it,
    "no worker lives": no_worker,
    "the only worker was killed, and mail waits": a_worker_was_killed,
    "workers live, and take other queues (`-Q celery`)": other_queues,
    "the worker was told to take none (`cancel_consumer`)": cancel_consumer,
    "a message's `queue` is one that nobody takes": a_queue_that_nobody_serves,
    "`QUEUE` is misspelt in the program, before any mail": a_misspelt_queue,
    "the processes of the pool hang": the_pool_hangs,
    "one message is being sent for ever": sending_for_ever,
    "the mail server refuses the login": a_refused_login,
    "an alarm of a mailer that no living worker uses": an_alarm_of_a_mailer_of_old,
    "the mail server is away, and mail waits": no_mail_server,
    "the mail server restarts": a_mail_server_restarts,
    "the journal is full": a_full_journal,
    "the journal is a read-only replica": a_replica,
    "the journal may evict": a_journal_that_evicts,
    "the journal is away": no_journal,
    "the embedded server isn't running": no_embedded_server,
    "a setting is wrong": a_wrong_setting,
    "the broker is away": no_broker,  # last: the worker takes its time to come back
}


def test_live_says_whether_this_machines_worker_lives(
    settled: Rig, run_cli: Callable[..., Any], tmp_path: Path, unused_port: int
) -> None:
    """By either of its names, also with journal and broker away; and of no other worker."""
    home = str(settled.worker.log.parent)
    away = f"redis://127.0.0.1:{unused_port}/0"
    environment = {"MAILQUEUE_JOURNAL_URL": away, "MAILQUEUE_BROKER_URL": away}

    def live(*arguments: str, **changes: str) -> int:
        return run_cli("health", "--live", *arguments, **environment, **changes).returncode

    (worker,) = found(home)
    assert worker.worker == settled.name
    assert live(MAILQUEUE_HOME=home) == 0
    assert live("--worker", worker.worker, MAILQUEUE_HOME=home) == 0
    assert live("--worker", worker.node, MAILQUEUE_HOME=home) == 0
    assert live("--worker", "celery@elsewhere", MAILQUEUE_HOME=home) == 1
    assert live(MAILQUEUE_HOME=str(tmp_path)) == 1
    assert run_cli("health", "--worker", "x").returncode == 2


def found(home: str) -> list[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAILQUEUE_HOME", home)
        return living()


def test_each_situation_of_the_document_is_made_here() -> None:
    """And there is no other."""
    assert list(SITUATIONS) == list(TABLE)
    assert len(TABLE) >= 20


@pytest.mark.parametrize("situation", SITUATIONS)
def test_what_the_commands_say_is_what_is_true(
    situation: str, settled: Rig, run_cli: Callable[..., Any]
) -> None:
    """Each with the exit status of the table, and with the words that are quoted there."""
    with SITUATIONS[situation](settled) as changes:
        found = {name: run_cli(name, **changes) for name in ("health", "status", "check")}
    for name, result in found.items():
        status, quoted = expected(TABLE[situation][f"`{name}`"])
        assert result.returncode == status, (name, result.stdout + result.stderr)
        for words in quoted:
            assert words in result.stdout + result.stderr, (name, result.stdout + result.stderr)
        if not quoted and name != "status":
            assert "problem" not in result.stdout


def expected(cell: str) -> tuple[int, list[str]]:
    """The exit status that a cell of the table names, and what it quotes."""
    status = re.match(r"\d", cell)
    assert status, cell
    return int(status[0]), re.findall(r"``?(.+?)``?(?=[,;]|$)", cell)
