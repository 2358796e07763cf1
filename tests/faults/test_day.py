"""A day in the life: broker, journal, mail server and network go away in pairs, and come back.

`make faults` runs all pairs with `prefork` (DAY_PAIRS=all); `make test-all` one with each pool, by
a seed that is printed and may be given as DAY_SEED.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import combinations
from pathlib import Path

import pytest

from mailqueue import EmailMessage, make_msgid
from mailqueue.errors import EnqueueError
from mailqueue.testing import RecordingServer
from tests.nursery import Nursery
from tests.patience import Deadline
from tests.pools import POOLS
from tests.proxy import Proxy
from tests.servers import Valkey
from tests.support import ROOT, Worker, wait_until

pytestmark = pytest.mark.long
ALL = os.environ.get("DAY_PAIRS") == "all"
OUTAGE = 6.0 if ALL else 2.0  # seconds that pass between two blows
MOVES_WITHIN = 60.0  # seconds after the last return
BROKER, JOURNAL, MAIL, NETWORK = PARTS = ("broker", "journal", "mail server", "network")
PAIRS = list(combinations(PARTS, 2))

# The oracle: how `mailqueue health` ends while a part is away, what it says then, and how many
# seconds it has to know. Of parts that are away together the first one counts: nothing can be told
# without the journal, and a mailer matters only to workers that are there.
RIGHT = {
    JOURNAL: (2, "can't be reached", 0),
    BROKER: (1, "the broker can't be reached", 0),
    NETWORK: (1, "no worker takes", 10),  # a worker of which nothing is heard is forgotten then
    MAIL: (1, "can't be used since", 60),  # a server that restarts is no problem
}


def right(away: set[str]) -> tuple[int, str, int]:
    """The exit code, the reason and the time to know it that are right while these are away."""
    return next((RIGHT[part] for part in RIGHT if part in away), (0, "", 0))


class Day:
    """Everything that mail needs, each part of which may go away."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.broker = stack.enter_context(Valkey(directory / "broker", appendonly="yes"))
        self.journal = stack.enter_context(Valkey(directory / "journal", appendonly="yes"))
        self.smtp = stack.enter_context(RecordingServer())
        targets = [self.broker.port, self.journal.port, self.smtp.port]
        self.lines = [stack.enter_context(Proxy(port)) for port in targets]
        self.accepted: list[str] = []
        self.away: set[str] = set()
        self.looks: list[tuple[set[str], int, str]] = []

    def environment(self) -> dict[str, str]:
        """Of the workers, which reach everything over the network."""
        broker, journal, smtp = (line.port for line in self.lines)
        return {
            "EMAIL_HOST": "127.0.0.1",
            "EMAIL_PORT": str(smtp),
            "EMAIL_TIMEOUT": "5",
            "MAILQUEUE_BROKER_URL": f"redis://127.0.0.1:{broker}/0",
            "MAILQUEUE_JOURNAL_URL": f"redis://127.0.0.1:{journal}/0",
            "MAILQUEUE_LEASE": "3s",
            "MAILQUEUE_RETRY": "1s*10",
            "MAILQUEUE_ENQUEUE_TIMEOUT": "2s",
        }

    def leave(self, part: str) -> None:
        """Have it go away."""
        self.away.add(part)
        if part == NETWORK:
            for line in self.lines:
                line.fall_silent()
        elif part == MAIL:
            self.lines[2].lead_to(1)  # where nothing listens
            self.lines[2].cut()
        else:
            server = self.broker if part == BROKER else self.journal
            server.terminate()

    def come_back(self, part: str) -> None:
        """Have it be there again."""
        self.away.discard(part)
        if part == NETWORK:
            for line in self.lines:
                line.recover()
        elif part == MAIL:
            self.lines[2].lead_to(self.smtp.port)
        else:
            server = self.broker if part == BROKER else self.journal
            server.start()

    def send(self, count: int = 3) -> None:
        """Send some messages; what isn't accepted is the program's to keep."""
        for _ in range(count):
            id_ = make_msgid()
            message = EmailMessage(
                "News", "All of it", "a@example.com", ["b@example.com"], headers={"Message-ID": id_}
            )
            with suppress(EnqueueError):
                message.send()
                self.accepted.append(id_)

    def arrived(self) -> set[str]:
        return set(self.smtp.message_ids())


@pytest.fixture
def day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Day]:
    """The parts, and this process as the program that sends, next to the servers."""
    with ExitStack() as stack:
        found = Day(tmp_path, stack)
        for name, value in {
            "EMAIL_BACKEND": "mailqueue.backends.queue.EmailBackend",
            "MAILQUEUE_BROKER_URL": found.broker.url,
            "MAILQUEUE_JOURNAL_URL": found.journal.url,
            "MAILQUEUE_ENQUEUE_TIMEOUT": "2s",
        }.items():
            monkeypatch.setenv(name, value)
        yield found


def look(day: Day, worker: Worker, run_cli) -> None:
    """Have an outage take its time, and `health` right about it, as soon as it can know."""
    time.sleep(OUTAGE)  # how long something is away is what this is about
    assert worker.process.poll() is None, worker.explain()
    code, reason, seconds = right(day.away)
    if not ALL and reason == RIGHT[MAIL][1]:  # it takes a minute, in which all is well
        code, reason, seconds = 0, "", 30

    def is_right() -> bool:
        seen = run_cli("health")
        day.looks.append((set(day.away), seen.returncode, seen.stdout))
        return seen.returncode == code and reason in seen.stdout

    wait_until(is_right, seconds + 5, lambda: f"{day.looks}\n{worker.explain()}")


def live(day: Day, worker: Worker, pair: tuple[str, str], run_cli) -> None:
    """Let both go away and come back, in that order, and look at each moment."""
    first, second = pair
    for act, part in [(day.leave, first), (day.leave, second), (day.come_back, first)]:
        act(part)
        day.send()
        look(day, worker, run_cli)
    day.come_back(second)


def everything_moves(day: Day, worker: Worker, run_cli) -> None:
    """Mail moves within a minute, all that was accepted arrives, and health says so."""
    before = len(day.smtp.received)
    day.send()
    deadline = Deadline(MOVES_WITHIN, margin=1.0)
    wait_until(lambda: len(day.smtp.received) > before, MOVES_WITHIN, worker.explain)
    assert not deadline.is_over(), deadline.explain()
    wait_until(lambda: day.arrived() >= set(day.accepted), MOVES_WITHIN, worker.explain)
    wait_until(lambda: run_cli("health").returncode == 0, MOVES_WITHIN, worker.explain)


def cases() -> list[object]:
    """Of each pool one pair; with DAY_PAIRS=all, all of them with `prefork`."""
    pairs = {"prefork": PAIRS} if ALL else {pool: [None] for pool in POOLS}
    return [
        pytest.param(pool, pair, id=f"{pool}: {' and '.join(pair or ['a pair'])}")
        for pool, of_pool in pairs.items()
        for pair in of_pool
    ]


@pytest.mark.parametrize(("pool", "pair"), cases())
def test_nothing_is_lost_on_a_day_of_outages(pool, pair, day, tmp_path, nursery: Nursery, run_cli):
    """Each outage: `health` is right, nothing is lost, mail moves within a minute of the last."""
    seed = int(os.environ.get("DAY_SEED", random.randrange(10**6)))
    chosen = list(pair or random.Random(f"{seed} {pool}").choice(PAIRS))
    sys.stdout.write(f"DAY_SEED={seed}: {pool}, {chosen[0]} and {chosen[1]}\n")
    options = ["-P", pool, "-c", "2", "-l", "INFO", "--without-mingle"]
    worker = Worker(
        [sys.executable, "-m", "celery", "-A", "tests.faults.long.hurried", "worker", *options],
        {**os.environ, **day.environment()},
        cwd=ROOT,
        log=tmp_path / "worker.log",
        nursery=nursery,
    )
    try:
        wait_until(worker.is_ready, 30, worker.explain)
        day.send()
        wait_until(lambda: day.arrived() >= set(day.accepted), 30, worker.explain)
        assert run_cli("health").returncode == 0
        live(day, worker, tuple(chosen), run_cli)
        everything_moves(day, worker, run_cli)
        assert len(day.accepted) >= 6
    finally:
        worker.kill()
