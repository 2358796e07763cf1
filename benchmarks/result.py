"""What was measured: every run, and the medians over the rounds."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter

from benchmarks.contender import BARE, BEFORE, CELERY_EMAIL, CONTENDERS

_LIBRARIES = {contender.name: contender.library for contender in CONTENDERS}


@dataclass(frozen=True)
class Measurement:
    """One run: seconds, bytes, and what was wrong with what arrived.

    ``seconds`` goes from before the first message is built until the server has the last one;
    ``accepting`` until the last call of the producer returned. CPU is counted until all is at rest.
    ``server_memory`` is what broker and journal needed above what they held before.
    """

    scenario: str
    contender: str
    number: int
    seconds: float
    accepting: float
    producer_cpu: float
    producer_peak: int
    worker_cpu: float
    server_cpu: float
    sink_cpu: float
    worker_memory: int
    server_memory: int
    wire_bytes: int
    p50: float = 0.0
    p99: float = 0.0
    lost: int = 0
    doubled: int = 0
    wrong: int = 0
    unsettled: int = 0
    reasons: Sequence[str] = ()

    @property
    def rate(self) -> float:
        """Messages a second, end to end."""
        return self.number / self.seconds

    @property
    def cpu(self) -> float:
        """Seconds that producer, worker, broker and journal have computed."""
        return self.producer_cpu + self.worker_cpu + self.server_cpu

    @property
    def is_good(self) -> bool:
        """Whether each message arrived once and whole, and is known to have been sent."""
        return not (self.lost or self.doubled or self.wrong or self.unsettled)


class Results:
    """All measurements of a run of the benchmark."""

    def __init__(self, measurements: Iterable[Measurement] = ()) -> None:
        self.measurements = list(measurements)

    def of(self, scenario: str, contender: str) -> list[Measurement]:
        """The rounds of one contender in one scenario."""
        return [
            found
            for found in self.measurements
            if (found.scenario, found.contender) == (scenario, contender)
        ]

    def contenders(self, scenario: str) -> list[str]:
        """Who took part, in the order of the table."""
        found = {m.contender for m in self.measurements if m.scenario == scenario}
        names = [name for one in CONTENDERS for name in (one.name, one.name + BEFORE)]
        return [name for name in names if name in found]

    def scenarios(self) -> list[str]:
        """What was measured, in the order in which it was."""
        return list(dict.fromkeys(m.scenario for m in self.measurements))

    def median(self, scenario: str, contender: str, field: str) -> float:
        """The median over the rounds; 0 where there are none."""
        values = [float(attrgetter(field)(m)) for m in self.of(scenario, contender)]
        return statistics.median(values) if values else 0.0

    def best(self, scenario: str, library: str) -> str:
        """The fastest contender of that library, by its median; '' where none took part."""
        names = [name for name in self.contenders(scenario) if _LIBRARIES.get(name) == library]
        return max(names, key=lambda name: self.median(scenario, name, "rate"), default="")

    def times_before(self, scenario: str, contender: str) -> float | None:
        """How many times as fast it is as its other version."""
        mine = self.median(scenario, contender, "rate")
        other = self.median(scenario, contender + BEFORE, "rate")
        return mine / other if mine and other else None

    def ratio(self, scenario: str, contender: str, to: str) -> float | None:
        """How many times as fast that is as another, whose best row counts."""
        best = self.best(scenario, to)
        mine = self.median(scenario, contender, "rate")
        return mine / self.median(scenario, best, "rate") if best and mine else None

    def ratio_to_peer(self, scenario: str, contender: str) -> float | None:
        """How many times as fast as django-celery-email's best."""
        return self.ratio(scenario, contender, CELERY_EMAIL)

    def ratio_to_bare(self, scenario: str, contender: str) -> float | None:
        """How many times as fast as the bare loop."""
        return self.ratio(scenario, contender, BARE)
