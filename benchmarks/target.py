"""What mailqueue has to reach beside the others, and whether it did."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.contender import BARE, CELERY_EMAIL
from benchmarks.result import Results

_OURS, _TWO, _IN_FLIGHT = "mailqueue", "mailqueue, two workers", "mailqueue, ten in flight"
_FLAT = 1.1  # times the memory after the first round


@dataclass(frozen=True)
class Target:
    """A bound and what was measured; ``at_most`` where less is better."""

    what: str
    bound: float
    measured: float
    at_most: bool = False

    @property
    def is_met(self) -> bool:
        """Whether the bound holds."""
        return self.measured <= self.bound if self.at_most else self.measured >= self.bound

    def __str__(self) -> str:
        sign = "≤" if self.at_most else "≥"
        verdict = "met" if self.is_met else "NOT MET"
        return f"{self.what}: {self.measured:.2f}, {sign} {self.bound:g}: {verdict}"


def targets(results: Results) -> Iterator[Target]:
    """Those that were measured."""
    yield from _ratio(results, "list", _OURS, CELERY_EMAIL, 3)
    yield from _ratio(results, "list", _OURS, BARE, 1)
    yield from _two_workers(results, "list")
    yield from _ratio(results, "single", _OURS, CELERY_EMAIL, 4)
    yield from _latencies(results)
    yield from _ratio(results, "attachment", _OURS, CELERY_EMAIL, 5)
    yield from _ratio(results, "attachment", _OURS, BARE, 1)
    yield from _flat_memory(results)
    for distance in (20, 80):
        yield from _ratio(results, f"list-{distance}", _OURS, BARE, 3.8)
        yield from _two_workers(results, f"list-{distance}")
        yield from _ratio(results, f"list-{distance}", _IN_FLIGHT, BARE, 30)
        yield from _ratio(results, f"single-{distance}", _OURS, CELERY_EMAIL, 8)


def _ratio(results: Results, scenario: str, name: str, to: str, bound: float) -> Iterator[Target]:
    ratio = results.ratio(scenario, name, to)
    if ratio is not None:
        yield Target(f"{scenario}: {name} / {to}, messages/s", bound, ratio)


def _two_workers(results: Results, scenario: str) -> Iterator[Target]:
    one, two = (results.median(scenario, name, "rate") for name in (_OURS, _TWO))
    if one and two:
        yield Target(f"{scenario}: two workers / one, messages/s", 1.6, two / one)


def _latencies(results: Results) -> Iterator[Target]:
    """`send()` in the caller."""
    peer = results.best("single", CELERY_EMAIL)
    ours, ours_late = (results.median("single", _OURS, field) for field in ("p50", "p99"))
    if ours and peer:
        theirs = results.median("single", peer, "p50")
        yield Target(f"single: p50 of send() / {CELERY_EMAIL}'s", 0.5, ours / theirs, at_most=True)
        yield Target(f"single: p99 of send() / {CELERY_EMAIL}'s p50", 3, ours_late / theirs, True)
        yield Target("single: p99 of send() / its own p50", 3, ours_late / ours, at_most=True)


def _flat_memory(results: Results) -> Iterator[Target]:
    rounds = results.of("attachment", _OURS)
    if len(rounds) > 1:
        growth = rounds[-1].worker_memory / rounds[0].worker_memory
        what = "attachment: worker's memory, last round / first"
        yield Target(what, _FLAT, growth, at_most=True)
