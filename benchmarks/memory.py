"""What 10,000 waiting messages with the same 1 MiB attachment need in journal and broker.

Run it with `python -m benchmarks.memory`. Beside it, on the same Valkey, what django-celery-email
needs for 100 of them, scaled; name an interpreter that has it with `--peer-python PATH`, or let
`--install-peer` put it into an environment that is thrown away. The exit status is 1 where the
messages add `BOUND` or more.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from mailqueue.conf.server import socket_path
from mailqueue.local.embedded import EmbeddedServer

NUMBER, PEERS_NUMBER = 10_000, 100
BOUND = 40e6  # bytes
JOURNAL, BROKER, PEERS_BROKER = 0, 1, 2  # databases
PEER = "django-celery-email"
PEERS_PACKAGES = [PEER, "kombu[redis]"]
STEADY, PAUSE, PATIENCE = 5, 0.2, 60.0  # looks, seconds between them, seconds at most


@dataclass(frozen=True)
class Need:
    """What waiting messages need: bytes in the server, seconds to accept, the producer's bytes."""

    journal: float
    broker: float
    seconds: float
    idle: float
    peak: float

    @property
    def server(self) -> float:
        """Journal and broker together."""
        return self.journal + self.broker

    def scaled(self, factor: float) -> Need:
        """The same for more messages; the producer sends them in chunks, so it holds no more."""
        return Need(
            self.journal * factor, self.broker * factor, self.seconds * factor, self.idle, self.peak
        )


class Server:
    """A Valkey of the benchmark's own, and how much memory it uses."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.clients = [
            redis.Redis(unix_socket_path=str(socket_path(home)), db=database)
            for database in (JOURNAL, BROKER, PEERS_BROKER)
        ]

    @property
    def peers_broker(self) -> str:
        """The peer's database, as Celery spells it."""
        return f"redis+socket://{socket_path(self.home)}?virtual_host={PEERS_BROKER}"

    def used(self) -> int:
        """`used_memory`, once it stays the same: the append-only file is written, nobody asks."""
        deadline = time.monotonic() + PATIENCE
        seen: list[int] = []
        while len(seen) < STEADY or max(seen[-STEADY:]) - min(seen[-STEADY:]) > 64 * 1024:
            if time.monotonic() > deadline:
                raise TimeoutError(f"used_memory does not settle: {seen[-STEADY:]}")
            time.sleep(PAUSE)
            seen.append(self.clients[JOURNAL].info("memory")["used_memory"])
        return seen[-1]

    def empty(self) -> int:
        """Remove everything; return what is used then."""
        self.clients[JOURNAL].flushall()
        return self.used()

    def accepted(self) -> int:
        """How many messages the journal has accepted."""
        return int(self.clients[JOURNAL].hget("mailqueue:{mailqueue}:totals", "accepted") or 0)


def produce(python: Path, arguments: list[str], home: Path) -> dict[str, float]:
    """Run `benchmarks.producer`, with no settings but the server's home."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MAILQUEUE_", "DJANGO_"))
    }
    process = subprocess.run(
        [python, "-m", "benchmarks.producer", *arguments],
        env=environment | {"MAILQUEUE_HOME": str(home)},
        cwd=Path(__file__).parent.parent,
        stdout=subprocess.PIPE,
        check=True,
    )
    took: dict[str, float] = json.loads(process.stdout)
    return took


def measure_ours(server: Server, attach: list[str]) -> Need:
    """Send 10,000; the broker's part is what goes when it is emptied."""
    before = server.empty()
    took = produce(Path(sys.executable), ["mailqueue", str(NUMBER), *attach], server.home)
    assert server.accepted() == NUMBER, "not every message was accepted"
    both = server.used()
    server.clients[BROKER].flushdb()
    journal = server.used()
    return Need(journal - before, both - journal, **took)


def measure_peer(server: Server, attach: list[str], python: Path) -> Need:
    """Send 100 with django-celery-email, which has no journal, and scale that."""
    before = server.empty()
    arguments = [PEER, str(PEERS_NUMBER), *attach, "--broker", server.peers_broker]
    took = produce(python, arguments, server.home)
    assert server.clients[PEERS_BROKER].llen("celery"), "no task was published"
    return Need(0, server.used() - before, **took).scaled(NUMBER / PEERS_NUMBER)


@contextmanager
def installed_peer() -> Iterator[Path]:
    """An interpreter with the peer, in an environment that is thrown away."""
    with tempfile.TemporaryDirectory() as directory:
        python = Path(directory) / "bin" / "python"
        subprocess.run([sys.executable, "-m", "venv", directory], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PEERS_PACKAGES], check=True)
        yield python


def show(title: str, need: Need) -> None:
    """Print a row."""
    print(
        f"  {title:<34} {need.journal / 1e6:>9,.1f} {need.broker / 1e6:>9,.1f} "
        f"{need.server / 1e6:>9,.1f} {need.seconds:>9,.1f} "
        f"{need.idle / 1e6:>9,.0f} {need.peak / 1e6:>9,.0f}"
    )


def compare(server: Server, peer: Path | None) -> Need:
    """Measure and print without and with attachment; return what ours need with it."""
    print(
        f"\n{NUMBER:,} messages of 1 kB to as many recipients, no worker: MB (10^6 bytes), seconds"
    )
    heads = ["journal", "broker", "both", "accepted", "idle RSS", "peak RSS"]
    print(f"  {'':<34}", *(f"{head:>9}" for head in heads))
    needs = []
    for title, attach in [("no attachment", []), ("the same 1 MiB", ["--attach"])]:
        needs.append(measure_ours(server, attach))
        show(f"mailqueue, {title}", needs[-1])
        if peer:
            theirs = measure_peer(server, attach, peer)
            show(f"{PEER}, {title} *", theirs)
            print(f"  {'':<34} {'':>9} ratio {theirs.server / needs[-1].server:>13,.1f}")
    if peer:
        print(f"  * measured on {PEERS_NUMBER} and scaled to {NUMBER:,}, except RSS")
    else:
        print(f"  {PEER}: not measured, pass --install-peer, or --peer-python PATH")
    print(f"\nThe attachment itself adds {(needs[1].server - needs[0].server) / 1e6:.1f} MB")
    return needs[1]


def main() -> None:
    """Measure; fail where the bound is missed."""
    parser = argparse.ArgumentParser(description="Measure what waiting messages need.")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--peer-python", type=Path, metavar="PATH", help=f"a Python that has {PEER}")
    which.add_argument("--install-peer", action="store_true", help="install it for this run")
    options = parser.parse_args()
    with ExitStack() as stack:
        peer = options.peer_python and options.peer_python.absolute()
        if options.install_peer:
            peer = stack.enter_context(installed_peer())
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(EmbeddedServer(home))
        added = compare(Server(home), peer).server
    verdict = "PASS" if added < BOUND else "FAIL"
    print(
        f"{verdict}: messages and attachment add {added / 1e6:.1f} MB, bound {BOUND / 1e6:.0f} MB"
    )
    sys.exit(added >= BOUND)


if __name__ == "__main__":
    main()
