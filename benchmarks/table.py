"""The results as Markdown tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from benchmarks.result import Results

HEADS = [
    "messages/s",
    "lowest to highest",
    "÷ django-celery-email",
    "÷ smtplib",
    "accepted in, s",
    "CPU, µs a message: producer",
    "worker",
    "broker and journal",
    "memory, MB: worker",
    "broker and journal",
    "producer's peak",
]
NONE = "\u2013"
LATENCY_HEADS = ["`send()` p50, ms", "p99, ms"]


def tables(results: Results, titles: Mapping[str, str]) -> str:
    """One table for each scenario."""
    return "\n\n".join(
        "\n".join([f"### {titles[scenario]}", "", *_table(results, scenario)])
        for scenario in results.scenarios()
    )


def _table(results: Results, scenario: str) -> Iterator[str]:
    has_latency = any(m.p50 for m in results.measurements if m.scenario == scenario)
    heads = ["", *HEADS, *(LATENCY_HEADS if has_latency else [])]
    yield _line(heads)
    yield _line(["---", *["---:"] * (len(heads) - 1)])
    for name in results.contenders(scenario):
        cells = [*_cells(results, scenario, name)]
        yield _line([name, *cells, *(_latencies(results, scenario, name) if has_latency else [])])


def _cells(results: Results, scenario: str, name: str) -> Iterator[str]:
    rounds = results.of(scenario, name)
    rates = [found.rate for found in rounds]
    yield significant(results.median(scenario, name, "rate"))
    yield f"{significant(min(rates))} to {significant(max(rates))}"
    yield _times(results.ratio_to_peer(scenario, name))
    yield _times(results.ratio_to_bare(scenario, name))
    yield significant(results.median(scenario, name, "accepting"))
    for field in ("producer_cpu", "worker_cpu", "server_cpu"):
        spent = results.median(scenario, name, field) / rounds[0].number
        yield f"{spent * 1e6:,.0f}" if spent else NONE
    for field in ("worker_memory", "server_memory", "producer_peak"):
        size = results.median(scenario, name, field)
        yield significant(size / 1e6) if size else NONE


def _latencies(results: Results, scenario: str, name: str) -> Iterator[str]:
    for field in ("p50", "p99"):
        yield f"{results.median(scenario, name, field) * 1000:.2f}"


def significant(value: float) -> str:
    """The number with as many digits as it deserves."""
    return f"{value:,.0f}" if value >= 20 else f"{value:.1f}" if value >= 2 else f"{value:.2f}"


def _times(ratio: float | None) -> str:
    return NONE if ratio is None else f"{ratio:.1f}" if ratio >= 2 else f"{ratio:.2f}"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
