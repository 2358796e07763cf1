"""How long the first message of an idle system takes, from `send()` to the server's final reply.

Run it with `python -m benchmarks.latency`, beside django-celery-email where `--peers` names a
Python that has it. `--pause 31 --number 5` shows it where the connection to the mail server has
been closed meanwhile. The exit status is 1 where the median is `BOUND` or more.
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


def main() -> None:
    """Measure in turns, print medians, and fail where ours is too long."""
    end_orderly()
    parser = argparse.ArgumentParser(description="Time the first message of an idle system.")
    parser.add_argument("--number", type=int, default=100)
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
            took: dict[str, list[float]] = {name: [] for name in names}
            for _ in range(options.number):
                for name, values in took.items():
                    values.append(first_message(race, name, options.pause))
    for name, values in took.items():
        cuts = quantiles(values)
        print(f"{name:<34} p50 {cuts['p50'] * 1e3:.1f} ms, p99 {cuts['p99'] * 1e3:.1f} ms")
    target = Target("first message, p50, ms", BOUND * 1e3, quantiles(took[OURS])["p50"] * 1e3, True)
    print(target)
    sys.exit(not target.is_met)


if __name__ == "__main__":
    main()
