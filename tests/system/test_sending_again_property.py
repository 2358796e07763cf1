"""Any sequence of sending, outage, change and sending again: what returned exists, and once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mailqueue import EmailMessage, get_connection
from mailqueue.conf import settings as values
from mailqueue.errors import EnqueueError
from mailqueue.monitor import report
from mailqueue.queue import portion
from mailqueue.queue import producer as producing
from mailqueue.queue.spool import current_spool
from tests.outage import ANSWER_LOST, FINE, REFUSED, REQUEST_LOST, Unsteady
from tests.outage import journal as journal

KEY = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
ENDS = st.lists(st.sampled_from([FINE, FINE, ANSWER_LOST, REQUEST_LOST, REFUSED]), max_size=4)
# Objects 0 to 3 are always sent together, 4 alone, and 5 stands twice in its list.
GROUPS = [[0, 1, 2, 3], [4], [5, 5]]
CHANGE = st.tuples(st.integers(0, 5), st.sampled_from("xyz"))
SEND = st.tuples(st.sampled_from(GROUPS), ENDS, st.booleans())


class Rendered(EmailMessage):
    """Builds its message by itself."""

    def message(self, **options: Any) -> Any:
        return super().message(**options)


@dataclass
class Model:
    """What has to be in the journal, by subject."""

    returned: Counter[str] = field(default_factory=Counter)
    given_up: Counter[str] = field(default_factory=Counter)  # may be there, and need not be
    open: dict[int, Counter[str]] = field(default_factory=dict)  # of each object, by failed calls

    def succeed(self, sent: list[tuple[int, str]]) -> None:
        for number, subject in sent:
            self.returned[subject] += 1
            self.open.setdefault(number, Counter())[subject] -= 1
        for number in {number for number, _ in sent}:
            self.given_up += self.open.pop(number)

    def fail(self, sent: list[tuple[int, str]]) -> None:
        for (number, subject), times in Counter(sent).items():
            known = self.open.setdefault(number, Counter())
            known[subject] = max(known[subject], times)

    def check(self, found: Counter[str]) -> None:
        still_open = sum(self.open.values(), Counter())
        for subject in found.keys() | self.returned.keys():
            at_most = self.returned[subject] + self.given_up[subject] + still_open[subject]
            assert self.returned[subject] <= found[subject] <= at_most, subject


class Run:
    """One sequence of steps, with objects of its own."""

    numbers = count()

    def __init__(self, journal: Unsteady) -> None:
        self._journal = journal
        self._prefix = f"{next(self.numbers)} "
        self._model = Model()
        kinds = [EmailMessage, Rendered, EmailMessage, EmailMessage, Rendered, EmailMessage]
        self._objects = [kind(body="Text", from_email="a@b", to=["c@d"]) for kind in kinds]
        self._objects[3].body = "A text that is long. " * 200
        for number in range(6):
            self.change(number, "x")

    def change(self, number: int, word: str) -> None:
        self._objects[number].subject = f"{self._prefix}{number} {word}"

    def send(self, group: list[int], ends: list[str], silently: bool) -> None:
        self._journal.plan(ends)
        messages = [self._objects[number] for number in group]
        sent = [(number, self._objects[number].subject) for number in group]
        try:
            returned = get_connection(fail_silently=silently).send_messages(messages)
        except EnqueueError as error:
            returned = min(error.count, len(error.accepted), len(group) - 1)
        if returned == len(group):
            self._model.succeed(sent)
        else:
            self._model.fail(sent)

    def check(self) -> None:
        self._journal.plan([])
        replay = current_spool().replay()
        assert [*replay.reasons, *replay.damaged] == []
        subjects = [str(record.subject) for record in report.records(report.Filter())]
        self._model.check(Counter(s for s in subjects if s.startswith(self._prefix)))


@pytest.fixture
def small_portions(monkeypatch) -> None:
    """Two messages are accepted together, one portion is kept, and the spool is no refuge."""
    monkeypatch.setattr(portion, "_AT_FIRST", 2)
    monkeypatch.setattr(portion, "_KEPT_AT_MOST", 1)
    monkeypatch.setattr(producing, "_SECONDS_LEFT_ALONE", 0)


@pytest.mark.parametrize("choice", ["raise", "spool"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(steps=st.lists(CHANGE | SEND, max_size=12), sealed=st.booleans())
@example(steps=[([4], [ANSWER_LOST], False), (4, "y"), ([4], [], False)], sealed=False)
@example(
    # What was accepted is passed over also where what had failed was changed, and fails again.
    steps=[([0, 1, 2, 3], [FINE, REFUSED], False), (2, "y"), (3, "y"),
           ([0, 1, 2, 3], [REFUSED], False), ([0, 1, 2, 3], [], False)],
    sealed=True,
)  # fmt: skip
def test_every_call_that_returned_is_in_the_journal_once(
    journal, small_portions, choice, steps, sealed
):
    """No message exists twice, none is missing, and none stands for another."""
    with values.overridden(MAILQUEUE={"ON_OUTAGE": choice, "SECRET_KEYS": [KEY] * sealed}):
        run = Run(journal)
        for step in steps:
            run.change(*step) if len(step) == 2 else run.send(*step)
        run.check()
        for group in GROUPS:
            run.send(group, [], False)
        run.check()
