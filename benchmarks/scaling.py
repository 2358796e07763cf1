"""Whether cost grows linearly with the number of messages, and stays while the journal fills.

Run it with `python -m benchmarks.scaling`; it takes a quarter of an hour. First 1,000, 10,000 and
100,000 messages from a generator, each into a new journal, by a new producer. Then 10,000 into a
journal that holds a million already, in turns with an empty one: half of the million are scheduled
for a day far away, half have been sent; all of them came there by the journal's own operations.
The exit status is 1 where a bound is missed or a message is lost, doubled or wrong.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import mailqueue
from benchmarks.contender import CONTENDERS, Running
from benchmarks.messages import note, recipient
from benchmarks.process import end_orderly
from benchmarks.race import OwnSink, Race
from benchmarks.result import Measurement
from benchmarks.scenario import OWN_SINK, Scenario
from benchmarks.target import Target
from mailqueue.conf.server import journal_socket_url
from mailqueue.queue import payload
from mailqueue.queue.journal import Entry, Journal, Result, Settlement
from mailqueue.state import State
from mailqueue.store.client import connect

OURS = CONTENDERS[0]
SIZES = (1_000, 10_000, 100_000)
HELD, WITH_HELD = 1_000_000, 10_000
LINEAR, FULL, PEAK = 1.15, 1.2, 1.1  # times
_AT_ONCE = 500
_AT_LEAST = 10_000  # messages of each size: a single run of few takes too short a time
_FAR = timedelta(days=3650)


def scenario(number: int) -> Scenario:
    """That many messages by one `send_messages()`."""
    return Scenario(f"{number:,}", "", "list", "text_and_html", number, [OURS.name], OWN_SINK)


def measured(race: Race, number: int, name: str) -> Measurement:
    """One run, printed as it ends."""
    found = race.measure(scenario(number), name)
    assert found.is_good, f"not every message arrived once and whole: {found}"
    print(
        f"{name:<18} {number:>9,} messages: {each(found, 'seconds'):,.0f} µs each,"
        f" accepted in {each(found, 'accepting'):,.0f},"
        f" producer's peak {found.producer_peak / 1e6:,.0f} MB",
        flush=True,
    )
    return found


def each(found: Measurement, field: str) -> float:
    """Microseconds for each message."""
    return float(getattr(found, field)) / found.number * 1e6


def growing(directory: Path, sizes: Sequence[int], rounds: int) -> Iterator[Target]:
    """Each size into a new journal, small ones several times."""
    runs: dict[int, list[Measurement]] = {size: [] for size in sizes}
    for number in range(rounds):
        for size in sizes:
            place = directory / f"{size}-{number}"
            with (
                closing(OwnSink(directory / "sink.log")) as sink,
                Running(OURS, place, sink.ports, Path()) as running,
            ):
                race = Race(sink, {OURS.name: running})
                race.warm_up()
                # What happens once in a process belongs to no size.
                race.measure(scenario(200), OURS.name)
                for _ in range(max(1, _AT_LEAST // size)):
                    runs[size].append(measured(race, size, OURS.name))
    for field, what in (("seconds", "accepted and drained"), ("accepting", "accepted")):
        medians = [statistics.median(each(m, field) for m in runs[size]) for size in sizes]
        ratio = max(medians) / min(medians)
        yield Target(f"{what}: time a message, slowest size / fastest", LINEAR, ratio, at_most=True)
    peaks = [statistics.median(m.producer_peak for m in runs[size]) for size in sizes]
    yield Target("producer's peak memory, largest / smallest", PEAK, peaks[-1] / peaks[0], True)


def filled(directory: Path, number: int, held: int, rounds: int) -> Iterator[Target]:
    """The same number into a journal that is full and into one that is empty, in turns."""
    names = ["empty journal", "full journal"]
    with closing(OwnSink(directory / "sink.log")) as sink, ExitStack() as stack:
        running = {
            name: stack.enter_context(
                Running(replace(OURS, name=name), directory / name[:5], sink.ports, Path())
            )
            for name in names
        }
        race = Race(sink, running)
        race.warm_up()
        fill(running[names[1]].home, held)
        race.warm_up()
        runs: dict[str, list[Measurement]] = {name: [] for name in names}
        for _ in range(rounds):
            for name in names:
                runs[name].append(measured(race, number, name))
    for field, what in (("seconds", "accepted and drained"), ("accepting", "accepted")):
        empty, full = (statistics.median(each(m, field) for m in runs[name]) for name in names)
        yield Target(f"{what} with {held:,} in the journal / none", FULL, full / empty, True)


def fill(home: Path, held: int) -> None:
    """Put messages into the journal, half to be sent in ten years, half sent."""
    journal = Journal(connect(journal_socket_url(home), 30.0), "mailqueue")
    one = "0" * 20
    message = note(mailqueue)
    text, summary = payload.dumps(message, one), payload.summary(message, message.recipients())
    for start in range(0, held, _AT_ONCE):
        is_sent = start % (2 * _AT_ONCE) == 0
        send_at = None if is_sent else datetime.now(UTC) + _FAR
        texts = {id_: text.replace(one, id_) for id_ in (f"{n:020}" for n in _span(start))}
        journal.accept(
            [Entry(id_, t, payload.digest(t), summary, send_at) for id_, t in texts.items()]
        )
        if is_sent:
            claims, _ = journal.claim([(id_, payload.digest(t)) for id_, t in texts.items()])
            for claim in claims:
                result = Result(State.SENT, "250 ok")
                settled = Settlement(State.SENT, "250 ok", {recipient(0): result})
                assert journal.settle(claim, settled), "a claim was stale"
        if start % 100_000 == 0:
            print(f"filled with {start:,} of {held:,}", flush=True)


def _span(start: int) -> range:
    return range(start + 1, start + _AT_ONCE + 1)


def main() -> None:
    """Measure both, and say which bounds hold."""
    end_orderly()
    parser = argparse.ArgumentParser(description="Measure whether cost grows linearly.")
    parser.add_argument("--quick", action="store_true", help="few messages, to see that it works")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["growing", "filled"], default="")
    options = parser.parse_args()
    sizes, held, number = SIZES, HELD, WITH_HELD
    if options.quick:
        sizes, held, number = (100, 1_000), 10_000, 1_000
    found: list[Target] = []
    with tempfile.TemporaryDirectory(prefix="bench") as name:
        if options.only in ("", "growing"):
            (Path(name) / "growing").mkdir()
            found += growing(Path(name) / "growing", sizes, options.rounds)
        if options.only in ("", "filled"):
            (Path(name) / "filled").mkdir()
            found += filled(Path(name) / "filled", number, held, options.rounds)
    print(*found, sep="\n")
    sys.exit(not all(target.is_met for target in found))


if __name__ == "__main__":
    main()
