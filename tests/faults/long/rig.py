"""What a long run is made of: a producer, workers to be killed, and the server that counts."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import redis

from mailqueue.queue.journal import Journal
from mailqueue.state import State
from mailqueue.store.client import connect
from tests.servers import Valkey
from tests.support import Worker, wait_until

ROOT = Path(__file__).parents[3]
PATIENCE = 240.0  # seconds for all that was accepted to come to its end
QUIET = 20.0  # seconds without a message, after which a library without a journal is done
OURS = "mailqueue"
APPS = {
    OURS: "tests.faults.long.hurried",
    "plain Celery": "tests.faults.long.plain_celery",
    "django-celery-email": "tests.faults.long.django_celery_email",
}


@dataclass(frozen=True)
class Report:
    """What became of the messages of one run."""

    scenario: str
    library: str
    rounds: int
    kills: int
    in_doubt: int | None  # messages between end and recorded reply at a kill; None: it doesn't tell
    ended: int  # workers that ended by themselves, and were started again
    accepted: int
    lost: int
    copies: int
    uncertain: int | None  # likewise
    unsettled: int | None  # likewise
    seconds: float


@dataclass
class Rig:
    """One library, sending by one broker to one server, with its files in a directory.

    ``journal`` is a database of a Valkey, ``broker`` whatever URL Celery takes.
    """

    library: str
    directory: Path
    broker: str
    journal: str
    python: Path = Path(sys.executable)
    rate: float = 250.0
    processes: int = 2
    workers: list[Worker] = field(default_factory=list)
    kills: int = 0
    in_doubt: set[tuple[str, int]] = field(default_factory=set)  # with the number of the attempt

    @contextmanager
    def running(self) -> Iterator[Rig]:
        """The server and the producer run; at the end the workers that are left are killed too."""
        self.directory.mkdir(parents=True)
        self.started = time.monotonic()
        sink = self._program("sink", "sink.txt")
        try:
            wait_until(lambda: self._output("sink").strip(), 10)
            self._port = self._output("sink").strip()
            self.producer = self._program("producer", self.library, str(self.rate), "accepted.txt")
            wait_until(self.accepted, 20, lambda: self._output("producer"))
            yield self
        finally:
            for program in (*self._programs(), sink):
                program.kill()
                program.wait()
            for worker in self.workers:
                worker.kill()

    def _programs(self) -> list[subprocess.Popen[bytes]]:
        return [self.producer] if hasattr(self, "producer") else []

    def _program(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        *options, notes = arguments
        command = [self.python if name == "producer" else sys.executable, "-m"]
        command += [f"tests.faults.long.{name}", *options, self.directory / notes]
        with (self.directory / f"{name}.log").open("wb") as output:
            return subprocess.Popen(
                command, env=self.environment(), cwd=ROOT, stdout=output, stderr=output
            )

    def _output(self, name: str) -> str:
        return (self.directory / f"{name}.log").read_text()

    def environment(self) -> Mapping[str, str]:
        """Nothing of this machine's own settings, and times that suit a run of minutes."""
        ours = ("EMAIL_", "MAILQUEUE_", "DJANGO_", "CELERY_")
        return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | {
            "BROKER_URL": self.broker,
            "EMAIL_BACKEND": "mailqueue.backends.queue.EmailBackend",
            "EMAIL_HOST": "127.0.0.1",
            "EMAIL_PORT": getattr(self, "_port", "0"),
            "MAILQUEUE_BROKER_URL": self.broker,
            "MAILQUEUE_JOURNAL_URL": self.journal,
            "MAILQUEUE_LEASE": "3s",
            "MAILQUEUE_RETRY": "1s*10",
            "XDG_STATE_HOME": str(self.directory / "state"),
        }

    # -- what is done to it

    def start_worker(self) -> Worker:
        """Start a worker and wait until it takes tasks."""
        options = ["-c", str(self.processes), "-l", "INFO", "--without-mingle", "--without-gossip"]
        worker = Worker(
            [str(self.python), "-m", "celery", "-A", APPS[self.library], "worker", *options],
            self.environment(),
            cwd=ROOT,
            log=self.directory / f"worker-{len(self.workers)}.log",
        )
        self.workers.append(worker)
        wait_until(worker.is_ready, 60, worker.explain)
        return worker

    def supervise(self) -> None:
        """Do what systemd does: start a worker where there is none any more."""
        if all(worker.process.poll() is not None for worker in self.workers):
            self.start_worker()

    def kill_worker(self, worker: Worker) -> None:
        """Kill it, process group and all; no other one is to be at work."""
        worker.kill()
        self.kills += 1
        if self.library == OURS:
            journal = self._opened()
            committing = journal.read(list(journal.ids(State.COMMITTING)))
            self.in_doubt |= {(record.id, record.attempts) for record in committing}

    def a_moment(self, longest: float = 1.7) -> None:
        """Let any time pass: what is tested is that no moment is a bad one."""
        time.sleep(random.uniform(0.1, longest))

    # -- what came of it

    def accepted(self) -> set[str]:
        """The Message-IDs whose `send()` has returned."""
        path = self.directory / "accepted.txt"
        # The last line may be half written.
        return set(path.read_text().split("\n")[:-1]) if path.exists() else set()

    def received(self) -> Counter[str]:
        """How often the server accepted each."""
        return Counter((self.directory / "sink.txt").read_text().split("\n")[:-1])

    def finish(self, scenario: str, rounds: int) -> Report:
        """Stop the producer, let a worker send all that is left, and count."""
        self.producer.terminate()
        self.producer.wait(30)
        self.supervise()
        ours = self.library == OURS
        states = self._drain_journal() if ours else self._drain_broker()
        ended = sum(worker.process.poll() is not None for worker in self.workers) - self.kills
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.stop(60)
        accepted, received = self.accepted(), self.received()
        return Report(
            scenario=scenario,
            library=self.library,
            rounds=rounds,
            kills=self.kills,
            in_doubt=len(self.in_doubt) if ours else None,
            ended=ended,
            accepted=len(accepted),
            lost=len(accepted - received.keys()),
            copies=sum(received.values()) - len(received),
            uncertain=self._once_uncertain() if ours else None,
            unsettled=sum(n for s, n in states.items() if s is not State.SENT) if ours else None,
            seconds=round(time.monotonic() - self.started, 1),
        )

    def _opened(self) -> Journal:
        return Journal(connect(self.journal, 5.0), "mailqueue")

    def _drain_journal(self) -> Mapping[State, int]:
        journal = self._opened()
        states: dict[State, int] = {}

        def all_final() -> bool:
            self.supervise()
            states.update(journal.counts())
            return not sum(n for state, n in states.items() if not state.final)

        with suppress(AssertionError):  # then the report tells how many have no end
            wait_until(all_final, PATIENCE)
        return states

    def _drain_broker(self) -> Mapping[State, int]:
        """Without a journal nobody knows; so wait until nothing has come for a while."""
        seen, since = -1, time.monotonic()

        def is_quiet() -> bool:
            self.supervise()
            nonlocal seen, since
            now = (self.directory / "sink.txt").stat().st_size
            if now != seen:
                seen, since = now, time.monotonic()
            return time.monotonic() - since > QUIET

        wait_until(is_quiet, PATIENCE)
        return {}

    def _once_uncertain(self) -> int:
        journal = self._opened()
        records = journal.read([id_ for state in State for id_ in journal.ids(state)])
        assert len(records) == journal.totals()["accepted"]
        return sum(any(a.state is State.UNCERTAIN for a in r.history) for r in records)


def flush(url: str) -> None:
    """Remove all that a broker's database holds."""
    with redis.Redis.from_url(url) as client:
        client.flushdb()


def database(server: Valkey, number: int) -> str:
    """The URL of one database of a Valkey."""
    return f"{server.url.removesuffix('0')}{number}"
