"""The scenarios: what is sent how, to which server over which distance, and by whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.contender import CONTENDERS, IN_DJANGO, Contender

SMTP_SINK, OWN_SINK = "smtp-sink", "own sink"
_OURS, _TWO = "mailqueue", "mailqueue, two workers"
_IN_FLIGHT = "mailqueue, ten in flight"
_CHUNKS_10, _CHUNKS_100 = "django-celery-email, chunks of 10", "django-celery-email, chunks of 100"
_POST_OFFICE, _MAILER = "django-post_office", "django-mailer"
_DJANGO, _BARE = "Django's SMTP backend", "smtplib, rendered before"
_QUICK = 20  # times fewer messages


@dataclass(frozen=True)
class Scenario:
    """One kind of load. ``number`` is for most, ``ours`` for those that wait less on the link.

    Over a distance a rate hardly depends on how many are sent, only the time that it takes to
    measure it does.
    """

    key: str
    title: str
    way: str
    shape: str
    number: int
    names: Sequence[str]
    sink: str = SMTP_SINK
    round_trip: float = 0.0
    ours: int = 0
    in_flight: int = 0
    before: Path | None = None

    @property
    def contenders(self) -> list[Contender]:
        """Those who take part; with a version ``before``, that and ours only."""
        named = [contender for contender in CONTENDERS if contender.name in self.names]
        if self.before is None:
            return named
        ours = [each for each in named if each.is_ours and each.is_in(self.before)]
        return [one for each in ours for one in (each, each.before(self.before))]

    def number_for(self, contender: Contender) -> int:
        """How many messages that one sends."""
        if contender.name.startswith(_IN_FLIGHT):
            return self.in_flight or self.number
        return (contender.is_ours and self.ours) or self.number

    def quick(self) -> Scenario:
        """The same with so few messages that it only shows that everything works."""
        return replace(
            self,
            number=max(4, self.number // _QUICK),
            ours=self.ours // _QUICK,
            in_flight=self.in_flight // _QUICK,
        )


_ALL = [IN_DJANGO, _OURS, _TWO, _CHUNKS_10, _CHUNKS_100, _POST_OFFICE, _MAILER, _DJANGO, _BARE]
_SINGLE = [IN_DJANGO, _OURS, _CHUNKS_10, _POST_OFFICE, _MAILER, _DJANGO, _BARE]
_LIST = "5,000 text + HTML of 4 kB, one `send_messages()`"
_FAR = [_OURS, _TWO, _IN_FLIGHT, _CHUNKS_100, _POST_OFFICE, _DJANGO, _BARE]
_FAR_SINGLE = [_OURS, _IN_FLIGHT, _CHUNKS_10, _DJANGO]

SCENARIOS = [
    Scenario("list", _LIST, "list", "text_and_html", 5000, _ALL),
    Scenario("single", "2,000 single `send()` of 0.8 kB", "single", "note", 2000, _SINGLE),
    Scenario(
        "attachment",
        "120 with the same 1 MiB attachment, one `send_messages()`",
        "list",
        "with_attachment",
        120,
        _ALL,
    ),
    Scenario(
        "list-own",
        f"{_LIST}, into our own sink",
        "list",
        "text_and_html",
        5000,
        [_OURS, _IN_FLIGHT, _CHUNKS_10, _CHUNKS_100, _BARE],
        OWN_SINK,
    ),
    *(
        scenario
        for distance, (list_, ours, in_flight, single, single_ours) in {
            # Ours in a list: as many tasks for each of two workers. Single ones: so many that the
            # connection's opening, which the others pay for with each message, is less than 1 %.
            20: (120, 600, 2000, 60, 1500),
            80: (60, 200, 800, 24, 600),
        }.items()
        for scenario in (
            Scenario(
                f"list-{distance}",
                f"A list of 4 kB each, {distance} ms round trip",
                "list",
                "text_and_html",
                list_,
                _FAR,
                OWN_SINK,
                distance / 1000,
                ours,
                in_flight,
            ),
            Scenario(
                f"single-{distance}",
                f"Single `send()` of 0.8 kB, {distance} ms round trip",
                "single",
                "note",
                single,
                _FAR_SINGLE,
                OWN_SINK,
                distance / 1000,
                single_ours,
                in_flight,
            ),
        )
    ),
]
