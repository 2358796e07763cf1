"""Time several ways of doing one thing, interleaved, and print medians and ratios."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

ROUNDS = 9


def interleaved(
    ways: Mapping[str, Callable[[], object]], repeat: int, rounds: int = ROUNDS
) -> dict[str, float]:
    """Median seconds for one call of each way; the ways take turns, so that noise hits all."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()  # warm: imports, caches, connections
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            for _ in range(repeat):
                way()
            seconds[name].append((time.perf_counter() - start) / repeat)
    return {name: statistics.median(values) for name, values in seconds.items()}


def show(title: str, medians: Mapping[str, float], reference: str) -> None:
    """Print a table: microseconds, and how many times the reference's time that is."""
    print(f"\n{title}")
    for name, median in medians.items():
        ratio = median / medians[reference]
        print(f"  {name:<40} {median * 1e6:>12,.0f} µs   {ratio:>6.2f} x {reference}")
