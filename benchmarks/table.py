"""The results as Markdown tables: for each scenario how fast it was, and what it cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from benchmarks.result import Results

NONE = "\u2013"
Column = Callable[[Results, str, str], str]


def tables(results: Results, titles: Mapping[str, str]) -> str:
    """Two tables for each scenario."""
    lines: list[str] = []
    for scenario in results.scenarios():
        has_latency = any(m.p50 for m in results.measurements if m.scenario == scenario)
        has_before = any(map(partial(results.times_before, scenario), results.contenders(scenario)))
        speed = SPEED | (BEFORE if has_before else {}) | (LATENCY if has_latency else {})
        lines += [f"### {titles[scenario]}", ""]
        lines += [*_table(results, scenario, speed), "", *_table(results, scenario, COST), ""]
    return "\n".join(lines).rstrip()


def _table(results: Results, scenario: str, columns: Mapping[str, Column]) -> Iterator[str]:
    yield _line(["", *columns])
    yield _line(["---", *["---:"] * len(columns)])
    for name in results.contenders(scenario):
        yield _line([name, *(column(results, scenario, name) for column in columns.values())])


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def significant(value: float) -> str:
    """The number with as many digits as it deserves."""
    return f"{value:,.0f}" if value >= 20 else f"{value:.1f}" if value >= 2 else f"{value:.2f}"


def _median(field: str, factor: float = 1.0, *, each: bool = False) -> Column:
    """The median of a field, in other units or for each message; nothing where it is zero."""

    def column(results: Results, scenario: str, name: str) -> str:
        value = results.median(scenario, name, field) * factor
        number = results.of(scenario, name)[0].number if each else 1
        return significant(value / number) if value else NONE

    return column


def _range(results: Results, scenario: str, name: str) -> str:
    rates = [found.rate for found in results.of(scenario, name)]
    return f"{significant(min(rates))} to {significant(max(rates))}"


def _to_peer(results: Results, scenario: str, name: str) -> str:
    return _times(results.ratio_to_peer(scenario, name))


def _to_bare(results: Results, scenario: str, name: str) -> str:
    return _times(results.ratio_to_bare(scenario, name))


def _to_before(results: Results, scenario: str, name: str) -> str:
    ratio = results.times_before(scenario, name)
    return NONE if ratio is None else f"{ratio:.3f}"


def _times(ratio: float | None) -> str:
    return NONE if ratio is None else f"{ratio:.1f}" if ratio >= 2 else f"{ratio:.2f}"


SPEED: dict[str, Column] = {
    "messages/s": _median("rate"),
    "lowest to highest": _range,
    "times django-celery-email": _to_peer,
    "times smtplib": _to_bare,
    "accepted in, s": _median("accepting"),
}
BEFORE: dict[str, Column] = {"times before": _to_before}
LATENCY: dict[str, Column] = {
    "`send()` p50, ms": _median("p50", 1e3),
    "p99, ms": _median("p99", 1e3),
}
COST: dict[str, Column] = {
    "CPU, µs a message": _median("cpu", 1e6, each=True),
    "CPU of producer": _median("producer_cpu", 1e6, each=True),
    "CPU of worker": _median("worker_cpu", 1e6, each=True),
    "CPU of broker and journal": _median("server_cpu", 1e6, each=True),
    "CPU of mail server": _median("sink_cpu", 1e6, each=True),
    "memory of producer, MB": _median("producer_peak", 1e-6),
    "memory of worker": _median("worker_memory", 1e-6),
    "memory of broker and journal": _median("server_memory", 1e-6),
    "the same, bytes a message": _median("server_memory", each=True),
}
