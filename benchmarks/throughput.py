"""How fast mail goes through the whole queue, beside a bare `smtplib` loop into the same server.

Run it with `make bench`. The server is a process of its own that accepts everything and keeps
nothing; broker and journal are one Valkey with an append-only file. One worker process. Each round
checks that every message arrived once.
"""

from __future__ import annotations

import asyncio
import os
import smtplib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

import mailqueue
from benchmarks.messages import text_and_html, with_attachment
from mailqueue.embedded import EmbeddedServer
from mailqueue.journal import open_journal

MESSAGES, ROUNDS = 1000, 3


class Sink(asyncio.Protocol):
    """The least of all SMTP servers: it counts what ends with a dot."""

    accepted = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self.buffer, self.in_data = transport, b"", False
        transport.write(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while self._step():
            pass

    def _step(self) -> bool:
        end = b"\r\n.\r\n" if self.in_data else b"\r\n"
        taken, found, rest = self.buffer.partition(end)
        if not found:
            return False
        self.buffer = rest
        if self.in_data:
            Sink.accepted += 1
            self.in_data = False
        elif taken[:4].upper() == b"DATA":
            self.in_data = True
            self.transport.write(b"354 go on\r\n")
            return True
        elif taken[:4].upper() == b"QUIT":
            self.transport.write(b"221 bye\r\n")
            self.transport.close()
            return True
        elif taken[:4].upper() == b"EHLO":
            self.transport.write(b"250-sink\r\n250 8BITMIME\r\n")
            return True
        self.transport.write(b"250 ok\r\n")
        return True


def serve(pipe: Pipe) -> None:
    """Run the sink; answer each word on the pipe with the number of messages."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Sink, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        loop.add_reader(pipe.fileno(), lambda: (pipe.recv(), pipe.send(Sink.accepted)))
        await asyncio.Event().wait()

    asyncio.run(run())


@contextmanager
def sink() -> Iterator[tuple[int, Callable[[], int]]]:
    """The sink as a process: its port, and how to ask it for its count."""
    pipe, theirs = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=serve, args=[theirs], daemon=True)
    process.start()

    def count() -> int:
        pipe.send("count")
        return pipe.recv()

    yield pipe.recv(), count
    process.kill()
    process.join()


def bare_smtplib(port: int, compose: Callable, number: int) -> float:
    """Seconds for a loop over bytes that were rendered before."""
    rendered = [compose(mailqueue).message().as_bytes() for _ in range(number)]
    start = time.perf_counter()
    with smtplib.SMTP("127.0.0.1", port) as server:
        for data in rendered:
            server.sendmail("a@example.com", ["b@example.com"], data)
    return time.perf_counter() - start


def through_the_queue(compose: Callable, number: int) -> tuple[float, float]:
    """Seconds to accept a list by one `send_messages()`, and until all of it was sent."""
    journal = open_journal()
    before = journal.totals().get("sent", 0)
    messages = [compose(mailqueue) for _ in range(number)]
    start = time.perf_counter()
    mailqueue.get_connection().send_messages(messages)
    accepted = time.perf_counter() - start
    while journal.totals().get("sent", 0) - before < number:
        time.sleep(0.005)
    return accepted, time.perf_counter() - start


@contextmanager
def worker(log: Path) -> Iterator[None]:
    """One worker with one process, ready to take tasks."""
    command = [sys.executable, "-m", "celery", "-q", "-A", "workers", "worker", "-c", "1"]
    with log.open("wb") as output:
        process = subprocess.Popen([*command, "-l", "WARNING"], stdout=output, stderr=output)
    while not open_journal().pulse(alive_within=2, overdue_by=60)[0]:
        time.sleep(0.05)
    yield
    process.terminate()
    process.wait()


def main() -> None:
    """Measure both ways with both messages, interleaved."""
    with tempfile.TemporaryDirectory() as directory, sink() as (port, count):
        os.environ |= {
            "MAILQUEUE_HOME": directory,
            "EMAIL_BACKEND": "mailqueue.backends.queue.EmailBackend",
            "EMAIL_HOST": "127.0.0.1",
            "EMAIL_PORT": str(port),
        }
        with EmbeddedServer(Path(directory)), worker(Path(directory) / "worker.log"):
            through_the_queue(text_and_html, 10)
            measure("text + HTML, 4 kB", text_and_html, MESSAGES, port, count)
            measure("attachment of 1 MiB", with_attachment, 30, port, count)


def measure(
    title: str, compose: Callable, number: int, port: int, count: Callable[[], int]
) -> None:
    """Print the medians of some rounds."""
    bare, accepted, sent = [], [], []
    for _ in range(ROUNDS):
        before = count()
        bare.append(bare_smtplib(port, compose, number))
        first, whole = through_the_queue(compose, number)
        accepted.append(first)
        sent.append(whole)
        assert count() - before == 2 * number, "not every message arrived once"
    print(f"\n{number} messages, {title}: messages/s, medians of {ROUNDS} rounds")
    for name, values in [
        ("bare smtplib loop, rendered before", bare),
        ("queue: accepted by send_messages()", accepted),
        ("queue: end to end, one worker", sent),
    ]:
        print(f"  {name:<40} {number / statistics.median(values):>10,.0f}")


if __name__ == "__main__":
    main()
