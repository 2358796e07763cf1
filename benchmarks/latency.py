"""How long a message takes, from `send()` to the server's final reply.

Run it with `python -m benchmarks.latency`, beside django-celery-email where `--peers` names a
Python that has it: the first message of an idle system. `--pause 31 --number 5` shows it where the
connection to the mail server has been closed meanwhile. The exit status is 1 where the median is
`BOUND` or more. `--rates 10 50 100 200` shows the messages of a steady stream instead, so many a
second: what it adds that a message may join a task that waits already.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from benchmarks.driver import quantiles
from benchmarks.messages import recipient
from benchmarks.process import ROOT, end_orderly
from benchmarks.race import OwnSink, Race, started
from benchmarks.scenario import OWN_SINK, Scenario
from benchmarks.target import Target

OURS, PEER = "mailqueue", "django-celery-email, chunks of 10"
BOUND = 0.010  # seconds
_PATIENCE = 60.0  # seconds


def first_message(race: Race, name: str, pause: float) -> float:
    """Seconds that one message took after a pause, from before it was built."""
    # Any moment of the second in which timers look.
    time.sleep(pause * random.uniform(0.5, 1.5))
    first = race.numbers(1)
    race.server.expect(1)
    took = race.running[name].send("single", "note", first, 1)
    arrived = race.server.wait(_PATIENCE)["at"]
    verdict = race.server.verify("note", first, 1)
    assert arrived, f"{name}: a message never arrived"
    assert not any(verdict[fault] for fault in ("lost", "doubled", "wrong")), verdict
    return float(arrived - took["start"])


def stream(race: Race, name: str, rate: float, number: int) -> list[float]:
    """Seconds that each message of a stream took: so many, and so many a second."""
    first = race.numbers(number)
    race.server.expect(number)
    took = race.running[name].send("single", "note", first, number, 1 / rate)
    assert race.server.wait(_PATIENCE)["at"], f"{name}: a message never arrived"
    arrived = race.server.arrivals()
    race.server.verify("note", first, number)
    return [arrived[recipient(first + n)] - start for n, start in enumerate(took["starts"])]


def streams(race: Race, names: list[str], rates: list[float], number: int) -> None:
    """Measure each rate in turns, and print what it took."""
    for rate in rates:
        for name in names:
            show(f"{name}, {rate:g} a second", stream(race, name, rate, number))


def show(what: str, seconds: list[float]) -> dict[str, float]:
    """Print median and 99th percentile."""
    cuts = quantiles(seconds)
    print(f"{what:<50} p50 {cuts['p50'] * 1e3:.1f} ms, p99 {cuts['p99'] * 1e3:.1f} ms", flush=True)
    return cuts


def main() -> None:
    """Measure in turns, print medians, and fail where ours is too long."""
    end_orderly()
    parser = argparse.ArgumentParser(description="Time the first message of an idle system.")
    parser.add_argument("--number", type=int, default=100)
    parser.add_argument("--rates", type=float, nargs="+", default=[], help="messages a second")
    parser.add_argument("--pause", type=float, default=0.3, help="seconds before each, about")
    peers = ROOT / ".venv-bench" / "bin" / "python"
    parser.add_argument("--peers", type=Path, default=peers, help="a Python that has the peers")
    options = parser.parse_args()
    names = [OURS, PEER] if options.peers.exists() else [OURS]
    scenario = Scenario("first", "First message", "single", "note", 1, names, OWN_SINK)
    with tempfile.TemporaryDirectory(prefix="bench") as name:
        directory = Path(name)
        with (
            closing(OwnSink(directory / "sink.log")) as sink,
            started(sink, scenario, directory, options.peers.absolute()) as race,
        ):
            if options.rates:
                streams(race, names, options.rates, options.number)
                return
            took: dict[str, list[float]] = {name: [] for name in names}
            for _ in range(options.number):
                for name, values in took.items():
                    values.append(first_message(race, name, options.pause))
    medians = {name: show(name, values)["p50"] for name, values in took.items()}
    target = Target("first message, p50, ms", BOUND * 1e3, medians[OURS] * 1e3, True)
    print(target)
    sys.exit(not target.is_met)


if __name__ == "__main__":
    main()
