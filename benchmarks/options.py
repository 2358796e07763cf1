"""What each of Celery's options costs with our tasks, each beside the options that we have.

Run it with `python -m benchmarks.options`; it takes some minutes, and prints a table in Markdown.
For each option two workers are started that differ in nothing else, and get tasks in turns. A
backend that does nothing delivers, so that what is left is the queue's. Where a task has one
message, the cost of a task is as large a part as it gets: in a list it is shared by 100, in a loop
of `send()` by 25 to 100.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import mailqueue
from benchmarks.messages import note
from benchmarks.process import Program, cpu_seconds, end_orderly, family
from benchmarks.table import significant
from mailqueue.celery import create_app
from mailqueue.conf.server import socket_path
from mailqueue.local.embedded import EmbeddedServer
from mailqueue.queue import payload
from mailqueue.queue.broker import producer_app
from mailqueue.queue.journal import Entry, open_journal
from mailqueue.queue.publisher import publish

_OPTIONS = "CELERY_OPTIONS"  # the variable that tells a worker which are different
_PATIENCE, _POLL = 120.0, 0.005  # seconds
_numbers = count(1)


@dataclass(frozen=True)
class Variant:
    """What is different: in Celery's configuration, on the command line, in what is published."""

    name: str
    options: Mapping[str, object] = field(default_factory=dict)
    words: Sequence[str] = ()
    sending: Mapping[str, object] = field(default_factory=dict)
    at_once: int = 1  # messages a task


AS_IT_IS = Variant("as it is")
VARIANTS = [
    AS_IT_IS,  # beside itself: so much is noise
    Variant("`worker_prefetch_multiplier` 4", {"worker_prefetch_multiplier": 4}),
    Variant("`worker_send_task_events`", {"worker_send_task_events": True}),
    Variant("`task_send_sent_event`", {"task_send_sent_event": True}),
    Variant("`task_track_started`", {"task_track_started": True}),
    Variant(
        "a result backend, results kept",
        {"result_backend": "journal", "task_ignore_result": False},
        sending={"ignore_result": False},
    ),
    Variant("without gossip", words=["--without-gossip"]),
    Variant("without mingle", words=["--without-mingle"]),
    Variant("without heartbeat", words=["--without-heartbeat"]),
    Variant(
        "without these three", words=["--without-gossip", "--without-mingle", "--without-heartbeat"]
    ),
    Variant("`worker_disable_rate_limits`", {"worker_disable_rate_limits": True}),
    Variant("`broker_pool_limit` 1", {"broker_pool_limit": 1}),
    Variant("`worker_max_memory_per_child` none", {"worker_max_memory_per_child": None}),
    Variant("pool `solo`", words=["--pool", "solo"]),
    Variant("pool `threads`", words=["--pool", "threads"]),
    Variant("log level INFO", words=["--loglevel", "INFO"]),
    Variant("tasks of 100, uncompressed", sending={"compression": None}, at_once=100),
    Variant(
        "tasks of 100, shown with their arguments",
        sending={"argsrepr": None, "kwargsrepr": None},
        at_once=100,
    ),
]
HEAD = """\
| | producer, µs a task | worker | its main process | tasks a second | idle, ms/min | start, s |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |"""


def varied_app() -> Any:
    """The ready-made application with some options of another value: what the workers run."""
    app = create_app()
    app.config_from_object("workers.config")
    options = json.loads(os.environ.get(_OPTIONS, "{}"))
    if options.get("result_backend") == "journal":
        options["result_backend"] = f"redis+socket://{socket_path()}?virtual_host=2"
    app.conf.update(options)
    if not options.get("task_ignore_result", True):
        app.loader.import_default_modules()
        app.tasks["mailqueue.deliver"].ignore_result = False
    return app


app = varied_app() if _OPTIONS in os.environ else None


class Running:
    """A worker with its own server."""

    def __init__(self, variant: Variant, home: Path, stack: ExitStack) -> None:
        self.variant = variant
        self.home = home
        home.mkdir()
        stack.enter_context(EmbeddedServer(home))
        self._environment = {
            "MAILQUEUE_HOME": str(home),
            "MAILQUEUE_BACKEND": "mailqueue.backends.dummy.EmailBackend",
            _OPTIONS: json.dumps(variant.options),
        }
        with self._here():
            self._journal = open_journal()
            before = self._accept(1)
            words = ["-m", "celery", "-q", "-A", "benchmarks.options", "worker", "-c", "1"]
            start = time.monotonic()
            self._worker = stack.enter_context(
                Program([sys.executable, *words, *variant.words], home / "log", **self._environment)
            )
            publish("mailqueue", before)
            self._wait()
            self.start = time.monotonic() - start

    def work(self, tasks: int) -> dict[str, float]:
        """What one task costs: microseconds of CPU, and of time."""
        with self._here():
            number = max(tasks // self.variant.at_once, 10)
            batches = [self._accept(self.variant.at_once) for _ in range(number)]
            before, start, own = self._cpu(), time.monotonic(), time.process_time()
            for batch in batches:
                publish("mailqueue", batch)
            own = time.process_time() - own
            self._wait()
            seconds = time.monotonic() - start
            self._come_to_rest()
            used = self._cpu()
        main, all_ = (after - earlier for after, earlier in zip(used, before, strict=True))
        costs = {"publishing": own, "main": main, "worker": all_, "time": seconds}
        return {name: value / number * 1e6 for name, value in costs.items()}

    def idle_cpu(self) -> float:
        """Seconds of CPU that the worker has used so far."""
        return self._cpu()[1]

    @contextmanager
    def _here(self) -> Iterator[None]:
        """In the environment of this one's producer, which sends as the variant says."""
        os.environ |= self._environment
        sender = producer_app()
        sender.conf.task_send_sent_event = "task_send_sent_event" in self.variant.options
        usual: Callable[..., Any] = sender.send_task

        def changed(*args: Any, **kwargs: Any) -> Any:
            return usual(*args, **(kwargs | dict(self.variant.sending)))

        sender.send_task = changed
        try:
            yield
        finally:
            sender.send_task = usual

    def _accept(self, number: int) -> list[tuple[str, str]]:
        """Let the journal have messages, for which no task was published yet."""
        numbers = [next(_numbers) for _ in range(number)]
        texts = {f"{n:020}": payload.dumps(note(mailqueue, n), f"{n:020}") for n in numbers}
        summary = payload.summary(note(mailqueue), note(mailqueue).recipients())
        self._journal.accept(
            [Entry(id_, text, payload.digest(text), summary) for id_, text in texts.items()]
        )
        return list(texts.items())

    def _wait(self) -> None:
        """Until everything has been sent."""
        deadline = time.monotonic() + _PATIENCE
        while (totals := self._journal.totals()).get("sent", 0) < totals["accepted"]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.variant.name}: {totals}\n{self._worker.end_of_log()}")
            time.sleep(_POLL)

    def _come_to_rest(self) -> None:
        """Until it computes no more: events and acknowledgements come after the last message."""
        seen = -1.0
        while (now := self._cpu()[1]) > seen:
            seen = now
            time.sleep(0.1)

    def _cpu(self) -> tuple[float, float]:
        """Seconds of the main process, and of all of them."""
        return cpu_seconds([self._worker.pid]), cpu_seconds(family(self._worker.pid))


def compared(variant: Variant, directory: Path, tasks: int, rounds: int, idle: float) -> str:
    """A line of the table: in each cell what is usual, and what it is with the variant."""
    usual = replace(AS_IT_IS, at_once=variant.at_once)
    with ExitStack() as stack:
        pair = [
            Running(each, directory / name, stack)
            for name, each in {"usual": usual, "variant": variant}.items()
        ]
        costs: list[list[dict[str, float]]] = [[], []]
        for number in range(rounds):
            for index in (0, 1) if number % 2 else (1, 0):
                costs[index].append(pair[index].work(tasks))
        before = [running.idle_cpu() for running in pair]
        time.sleep(idle)
        resting = [(r.idle_cpu() - b) / idle * 60e3 for r, b in zip(pair, before, strict=True)]
    medians = [{key: statistics.median(c[key] for c in each) for key in each[0]} for each in costs]
    cells = [[m[key] for m in medians] for key in ("publishing", "worker", "main")]
    cells.append([1e6 / m["time"] for m in medians])
    cells += [resting, [running.start for running in pair]]
    shown = (" \u2192 ".join(map(significant, cell)) for cell in cells)
    return f"| {variant.name} | {' | '.join(shown)} |"


def main() -> None:
    """Compare each, and print a line as it is known."""
    end_orderly()
    parser = argparse.ArgumentParser(description="Measure what Celery's options cost.")
    parser.add_argument("--tasks", type=int, default=600, help="in a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--idle", type=float, default=10.0, help="seconds to look at idle workers")
    parser.add_argument("--only", default="", help="those whose names contain this")
    options = parser.parse_args()
    print(HEAD, flush=True)
    with tempfile.TemporaryDirectory(prefix="bench") as name:
        for number, variant in enumerate(VARIANTS):
            if options.only in variant.name:
                directory = Path(name, str(number))
                directory.mkdir()
                line = compared(variant, directory, options.tasks, options.rounds, options.idle)
                print(line, flush=True)


if __name__ == "__main__":
    main()
