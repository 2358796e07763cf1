"""Runs the scenarios: contenders in turns, each round in another order, one at a time."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

from benchmarks.contender import Running
from benchmarks.postfix import SmtpSink, find_smtp_sink
from benchmarks.process import Program, cpu_seconds
from benchmarks.result import Measurement, Results
from benchmarks.scenario import SMTP_SINK, Scenario

_PATIENCE = 600.0  # seconds for the last message of a run
_SAMPLE = 0.1  # seconds between looks at memory
_VERIFIED = 500  # messages of a run that isn't timed, at most


class Server(Protocol):
    """Where the messages go."""

    ports: dict[str, int]

    @property
    def pid(self) -> int:
        """Its process."""

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

    @property
    def pid(self) -> int:
        return self.program.pid

    def expect(self, number: int) -> object:
        return self.program.ask("expect", number=number)

    def wait(self, seconds: float) -> dict[str, Any]:
        return self.program.ask("wait", seconds=seconds)

    def arrivals(self) -> dict[str, float]:
        found: dict[str, float] = self.program.ask("arrivals")["arrivals"]
        return found

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
        while not self._over.wait(_SAMPLE):
            self._look()

    def _look(self) -> None:
        self.worker = max(self.worker, self.running.worker_memory())
        self.server = max(self.server, self.running.server_memory())

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._look()  # what took less than a pause was not seen yet


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
        before, sinks = running.usage(), cpu_seconds([self.server.pid])
        with Sampler(running) as sampler:
            took = running.send(scenario.way, scenario.shape, first, number)
            arrived = self.server.wait(_PATIENCE)
        running.settle()
        used, sinks = running.usage().since(before), cpu_seconds([self.server.pid]) - sinks
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
            sink_cpu=sinks,
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
def started(server: Server, scenario: Scenario, directory: Path, peers: Path) -> Iterator[Race]:
    """Everybody whom this scenario needs, on that server."""
    with ExitStack() as stack:
        running = {}
        for contender in scenario.contenders:
            home = directory / re.sub(r"\W+", "-", contender.name)
            new = Running(contender, home, server.ports, peers)
            running[contender.name] = stack.enter_context(new)
        race = Race(server, running)
        race.warm_up()
        yield race


def run(
    scenarios: Sequence[Scenario], rounds: int, directory: Path, peers: Path
) -> Iterator[Measurement]:
    """Measure all of it, each scenario with new processes, and yield each run as it ends."""
    for scenario in scenarios:
        place = directory / scenario.key
        place.mkdir()
        program = find_smtp_sink() if scenario.sink == SMTP_SINK else None
        with (
            closing(_server(scenario, program, place)) as server,
            started(server, scenario, place, peers) as race,
        ):
            yield from _rounds(race, scenario, rounds)


def _server(scenario: Scenario, smtp_sink: Path | None, place: Path) -> OwnSink | SmtpSink:
    if smtp_sink:
        return SmtpSink(smtp_sink, place / "sink")
    return OwnSink(place / "sink.log", distance=scenario.round_trip)


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
