"""Runs the scenarios: contenders in turns, each round in another order, one at a time."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

from benchmarks.contender import Running
from benchmarks.postfix import SmtpSink, find_smtp_sink
from benchmarks.process import Program
from benchmarks.result import Measurement, Results
from benchmarks.scenario import OWN_SINK, SMTP_SINK, Scenario

_PATIENCE = 600.0  # seconds for the last message of a run
_SAMPLE = 0.1  # seconds between looks at memory
_VERIFIED = 500  # messages of a run that isn't timed, at most


class Server(Protocol):
    """Where the messages go."""

    ports: dict[str, int]

    def expect(self, number: int) -> object:
        """Await so many messages."""

    def wait(self, seconds: float) -> dict[str, Any]:
        """When the last of them came."""

    def verify(self, shape: str, first: int, number: int) -> dict[str, Any]:
        """Judge what came."""


class OwnSink:
    """`benchmarks.sink`, as a process."""

    def __init__(self, log: Path, *, distance: float = 0.0) -> None:
        self.program = Program([sys.executable, "-m", "benchmarks.sink"], log)
        self.ports: dict[str, int] = self.program.answer()["ports"]
        self.proxy: Program | None = None
        if distance:
            command = [sys.executable, "-m", "benchmarks.proxy", distance, *self.ports.values()]
            self.proxy = Program(command, log)
            own = self.proxy.answer()["ports"]
            self.ports = dict(zip(self.ports, own, strict=True))

    def expect(self, number: int) -> object:
        return self.program.ask("expect", number=number)

    def wait(self, seconds: float) -> dict[str, Any]:
        return self.program.ask("wait", seconds=seconds)

    def verify(self, shape: str, first: int, number: int) -> dict[str, Any]:
        return self.program.ask("verify", shape=shape, first=first, number=number)

    def close(self) -> None:
        """End it."""
        for program in (self.proxy, self.program):
            if program:
                program.stop()


class Sampler:
    """Looks at a contender's memory while it works, and keeps the most that it saw."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.worker = self.server = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while True:
            self.worker = max(self.worker, self.running.worker_memory())
            self.server = max(self.server, self.running.server_memory())
            if self._over.wait(_SAMPLE):
                return

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


class Race:
    """All contenders of one server, ready and warm; numbers of messages are never used twice."""

    def __init__(self, server: Server, running: dict[str, Running]) -> None:
        self.server = server
        self.running = running
        self.next_number = 1

    def warm_up(self) -> None:
        """One message through each, which also shows that its worker is there."""
        for running in self.running.values():
            self.server.expect(1)
            running.send("list", "note", self.numbers(1), 1)
            arrived = self.server.wait(60)
            assert arrived["at"], f"{running.contender.name} sends nothing, see {running.home}"
            running.settle()

    def measure(self, scenario: Scenario, name: str, number: int = 0) -> Measurement:
        """One run of one contender."""
        running = self.running[name]
        number = number or scenario.number_for(running.contender)
        first = self.numbers(number)
        self.server.expect(number)
        running.settle()
        held, unsettled = running.server_memory(), running.unsettled()
        before = running.usage()
        with Sampler(running) as sampler:
            took = running.send(scenario.way, scenario.shape, first, number)
            arrived = self.server.wait(_PATIENCE)
        running.settle()
        used = running.usage().since(before)
        verdict = self.server.verify(scenario.shape, first, number)
        return Measurement(
            scenario=scenario.key,
            contender=name,
            number=number,
            seconds=(arrived["at"] or float("inf")) - took["start"],
            accepting=took["seconds"],
            producer_cpu=took["cpu"],
            producer_peak=int(took["peak"]),
            worker_cpu=used.worker,
            server_cpu=used.server,
            worker_memory=sampler.worker,
            server_memory=max(0, sampler.server - held),
            wire_bytes=verdict.pop("bytes"),
            p50=took.get("p50", 0.0),
            p99=took.get("p99", 0.0),
            unsettled=running.unsettled() - unsettled,
            **verdict,
        )

    def numbers(self, number: int) -> int:
        """The first of so many numbers that no message had yet."""
        first, self.next_number = self.next_number, self.next_number + number
        return first


@contextmanager
def started(
    server: Server, scenarios: Sequence[Scenario], directory: Path, peers: Path
) -> Iterator[Race]:
    """Everything that these scenarios need, on that server."""
    contenders = {c.name: c for scenario in scenarios for c in scenario.contenders}
    with ExitStack() as stack:
        running = {}
        for name, contender in contenders.items():
            home = directory / re.sub(r"\W+", "-", name)
            running[name] = stack.enter_context(Running(contender, home, server.ports, peers))
        race = Race(server, running)
        race.warm_up()
        yield race


def run(
    scenarios: Sequence[Scenario], rounds: int, directory: Path, peers: Path
) -> Iterator[Measurement]:
    """Measure all of it, and yield each run as it ends."""
    program = find_smtp_sink() if any(s.sink == SMTP_SINK for s in scenarios) else None
    for number, ((kind, distance), group) in enumerate(
        groupby(scenarios, lambda s: (s.sink if program else OWN_SINK, s.round_trip))
    ):
        place = directory / str(number)
        place.mkdir()
        if program and kind == SMTP_SINK:
            server: OwnSink | SmtpSink = SmtpSink(program, place / "sink")
        else:
            server = OwnSink(place / "sink.log", distance=distance)
        listed = list(group)
        try:
            with started(server, listed, place, peers) as race:
                for scenario in listed:
                    yield from _rounds(race, scenario, rounds)
        finally:
            server.close()


def _rounds(race: Race, scenario: Scenario, rounds: int) -> Iterator[Measurement]:
    names = [contender.name for contender in scenario.contenders]
    if isinstance(race.server, SmtpSink):
        _verify_content(race, race.server, scenario, names)
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            yield race.measure(scenario, name)


def _verify_content(race: Race, server: SmtpSink, scenario: Scenario, names: list[str]) -> None:
    """A run before those that are timed, in which `smtp-sink` writes the messages to files."""
    server.restart(keeping=True)
    for name in names:
        found = race.measure(scenario, name, min(_VERIFIED, scenario.number))
        assert found.wire_bytes, "smtp-sink wrote nothing"
        assert found.is_good, f"{name}: not every message arrived once and whole: {found}"
    server.restart(keeping=False)
    race.warm_up()


def collected(measurements: Iterator[Measurement]) -> Results:
    """Print a line for each run as it ends, and collect them."""
    results = Results()
    for found in measurements:
        results.measurements.append(found)
        wrong = "" if found.is_good else f"  WRONG: {found}"
        print(
            f"{found.scenario:<12} {found.contender:<34} {found.rate:>9,.1f}/s{wrong}", flush=True
        )
    return results
