"""The proof that nothing is lost: workers and brokers are killed for minutes, under load.

Run it with `make faults`; the report is also written as JSON, and `docs/reliability.md` quotes it.
The exit status is 1 where mailqueue lost a message, sent more copies than messages were in doubt
when their worker was killed, or left a message without an end.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import redis

from benchmarks.memory import installed_peer
from tests.faults.long.rig import APPS, OURS, Report, Rig, database, flush
from tests.rabbitmq import MISSING, RabbitMQ
from tests.servers import Valkey
from tests.support import wait_until

CONFIG = {"appendonly": "yes", "appendfsync": "everysec"}
FLUSHES = 10
BROKER_KILLS = 5


def workers_killed(rig: Rig, rounds: int) -> None:
    """`kill -9` of a worker's process group, at a random moment of its life."""
    for _ in range(rounds):
        worker = rig.start_worker()
        rig.a_moment()
        rig.kill_worker(worker)


def workers_killed_and_broker_flushed(rig: Rig, rounds: int) -> None:
    """The same, and in every fourth of these lives the broker's database is emptied."""
    for number in range(rounds):
        worker = rig.start_worker()
        rig.a_moment(0.8)
        if number % max(1, rounds // FLUSHES) == 0:
            flush(rig.broker)
        rig.a_moment(0.9)
        rig.kill_worker(worker)


def connections_killed(rig: Rig, rounds: int) -> None:
    """All connections of broker and journal are closed by the server."""
    rig.start_worker()
    with redis.Redis.from_url(rig.broker) as server:
        for _ in range(rounds):
            rig.a_moment(1.0)
            rig.supervise()
            server.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def broker_killed(server: Valkey) -> Callable[[Rig, int], None]:
    """`kill -9` of the Valkey that is broker and journal, and a start on its append-only file."""

    def torment(rig: Rig, rounds: int) -> None:
        rig.start_worker()
        for _ in range(rounds):
            rig.a_moment(4.0)
            server.terminate()
            rig.a_moment(1.0)
            server.start()
            rig.supervise()

    return torment


class Run:
    """All scenarios, one after the other; each on a fresh database, reported as it ends."""

    def __init__(self, directory: Path, options: argparse.Namespace) -> None:
        self.directory, self.json, self.only = directory, options.json, options.only
        self.rounds, self.at_least = options.rounds, options.at_least
        self.reports: list[Report] = []

    def scenario(
        self,
        name: str,
        rig: Rig,
        torment: Callable[[Rig, int], None],
        rounds: int | None = None,
    ) -> None:
        """Torment the rig, see that enough was accepted, and report."""
        if self.only not in f"{name}, {rig.library}":
            return
        flush(rig.journal)
        rounds = rounds or self.rounds
        with rig.running():
            torment(rig, rounds)
            wait_until(lambda: len(rig.accepted()) >= self.at_least, 120)
            report = rig.finish(name, rounds)
        self.reports.append(report)
        show(report)
        content = {"python": sys.version.split()[0], "commit": commit()}
        content["runs"] = [asdict(report) for report in self.reports]
        self.json.parent.mkdir(exist_ok=True)
        self.json.write_text(json.dumps(content, indent=2) + "\n")

    def rig(self, library: str, server: Valkey, broker: str = "", **options: object) -> Rig:
        """A rig in a directory of its own."""
        directory = self.directory / f"{len(list(self.directory.iterdir()))}"
        url = broker or database(server, 1)
        return Rig(library, directory, url, database(server, 0), **options)


def main() -> None:
    """Run what is asked for, print a line for each scenario, and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="kills in each scenario")
    parser.add_argument("--at-least", type=int, default=10_000, help="messages to be accepted")
    parser.add_argument("--only", default="", help="a part of the scenario's and library's name")
    parser.add_argument("--peer-python", type=Path, help="a Python with django-celery-email")
    parser.add_argument("--json", type=Path, default=Path("build/faults.json"))
    options = parser.parse_args()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(Valkey(directory / "valkey", config=CONFIG))
        run = Run(directory, options)
        head()
        run_all(run, server, stack, options.peer_python)
    sys.exit(verdict(run.reports))


def run_all(run: Run, server: Valkey, stack: ExitStack, peer: Path | None) -> None:
    """Every scenario; the peers suffer the first one too."""
    killed = "workers killed"
    for library in APPS:
        if library == "django-celery-email" and run.only in f"{killed}, {library}":
            python = peer or stack.enter_context(installed_peer())
            # Not resolved: the interpreter of an environment is a link.
            rig = run.rig(library, server, python=python.absolute())
        else:
            rig = run.rig(library, server)
        run.scenario(killed, rig, workers_killed)
    run.scenario(
        "workers killed, broker flushed", run.rig(OURS, server), workers_killed_and_broker_flushed
    )
    # Broker and journal are one server here, as they are by default.
    one = database(server, 0)
    run.scenario("connections killed", run.rig(OURS, server, one), connections_killed)
    run.scenario("broker killed", run.rig(OURS, server, one), broker_killed(server), BROKER_KILLS)
    if MISSING:
        print(f"RabbitMQ: not run, {MISSING}")
    elif run.only in f"workers killed, RabbitMQ, {OURS}":
        rabbitmq = stack.enter_context(RabbitMQ(run.directory / "rabbitmq"))
        rig = run.rig(OURS, server, rabbitmq.url)
        run.scenario("workers killed, RabbitMQ", rig, workers_killed)


def commit() -> str:
    """What was tested."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


COLUMNS = (
    "rounds", "kills", "in_doubt", "ended", "accepted", "lost", "copies", "uncertain", "unsettled",
    "seconds",
)  # fmt: skip


def head() -> None:
    """Print the table's head."""
    print(f"{'':<34}{'':<22}", *(f"{column:>9}" for column in COLUMNS), flush=True)


def show(report: Report) -> None:
    """Print a line of it."""
    values = ["-" if (v := getattr(report, column)) is None else v for column in COLUMNS]
    print(f"{report.scenario:<34}{report.library:<22}", *(f"{v:>9}" for v in values), flush=True)


def may_be_copied(report: Report) -> int:
    """The copies that the design allows; where no worker is killed, one for each blow."""
    return (report.in_doubt or 0) if report.kills else report.rounds


def verdict(reports: list[Report]) -> int:
    """1 where a promise was broken."""
    broken = [
        report
        for report in reports
        if report.library == OURS
        and (report.lost or report.copies > may_be_copied(report) or report.unsettled)
    ]
    print(f"FAIL: {len(broken)} of mailqueue's runs" if broken else "PASS")
    return bool(broken)


if __name__ == "__main__":
    main()
