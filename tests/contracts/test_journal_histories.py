"""Histories of the journal that once broke an invariant, or nearly did, played step by step.

Each is a list of calls of the rules of `tests/contracts/machine.py`: the rule's name, its
arguments, and what it draws. When a random history fails, its shortest form is kept here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest

from mailqueue.delivery.outcome import Verdict
from mailqueue.state import State
from mailqueue.store.client import connect
from tests.contracts.ledger import DOUBT
from tests.contracts.machine import JournalMachine


class Step(NamedTuple):
    """A call of a rule, and what it draws from its `data`, in order."""

    rule: str
    arguments: dict[str, Any]
    draws: Sequence[Any] = ()


class Drawn:
    """What stands in for Hypothesis' `data`."""

    def __init__(self, values: Sequence[Any]) -> None:
        self.values = list(values)

    def draw(self, _strategy: object) -> Any:
        return self.values.pop(0)


def accept(**letter: Any) -> Step:
    usual = {"recipients": 1, "send_in": 0, "expires_in": 0, "key": "", "blobs": {"aa"}}
    return Step(
        "accept",
        {"producer": "producer 1", "batch": [usual | letter], "room": 0, "lost": False},
    )


def claim(worker: str, *draws: Any) -> Step:
    """One worker takes "m0", and goes on for that number of steps."""
    return Step("takes_any_task", {"worker": worker}, [["m0"], *draws])


def goes_on(worker: str, *draws: Any) -> Step:
    return Step("goes_on", {"worker": worker}, draws)


def later(seconds: int) -> Step:
    return Step("clock_jumps", {"seconds": seconds})


def operator(what: str) -> Step:
    return Step("operates", {"what": what}, [["m0"]])


OK, LATER, NO = [Verdict.ACCEPTED] * 3, [Verdict.DEFERRED] * 3, [Verdict.REFUSED] * 3
# A timer looks, the task gets lost, and the worker takes no step.
TIMER = Step("takes_what_is_due", {"worker": "worker 3"}, [0, True, 0])

# What happens, and the state that "m0" is in then.
HISTORIES: dict[str, tuple[list[Step], State]] = {
    "sent, and held before the worker can say so": (
        [
            accept(),
            claim("worker 1", 3, OK, Verdict.ACCEPTED),
            later(700),
            TIMER,
            operator("hold"),
            goes_on("worker 1", 1, 2),
        ],
        State.SENT,
    ),
    "refused, and held before the worker can say so": (
        [
            accept(),
            claim("worker 1", 1, NO),
            later(61),
            TIMER,
            operator("hold"),
            goes_on("worker 1", 1, 1),
        ],
        State.FAILED,
    ),
    "deferred, and held before the worker can say so": (
        [
            accept(),
            claim("worker 1", 1, LATER),
            later(61),
            TIMER,
            operator("hold"),
            goes_on("worker 1", 1, 2),
        ],
        State.HELD,
    ),
    "in doubt, and held before the worker can say that it has no reply": (
        [
            accept(),
            claim("worker 1", 3, OK, "arrived, no reply"),
            later(700),
            TIMER,
            operator("hold"),
            goes_on("worker 1", 1, 1),
        ],
        State.HELD,
    ),
    "in doubt once, queued again, and then too late": (
        [
            accept(expires_in=4000),
            claim("worker 1", 3, OK, "lost, no reply"),
            goes_on("worker 1", 1, 1),
            later(3601),
            TIMER,
            later(700),
            claim("worker 2", 0),
        ],
        State.UNCERTAIN,
    ),
    "refused when another worker owns the message, and when that has been lost, too": (
        [
            accept(),
            claim("worker 1", 1, NO),
            later(61),
            claim("worker 2", 0),
            later(61),
            TIMER,
            goes_on("worker 1", 1, 2),
        ],
        State.QUEUED,
    ),
    "sent, and asked for again before the worker can say so": (
        [
            accept(),
            claim("worker 1", 3, OK, Verdict.ACCEPTED),
            later(700),
            TIMER,
            operator("retry"),
            goes_on("worker 1", 1, 1),
        ],
        State.QUEUED,
    ),
    "lost by all its workers, and then refused by the last of them": (
        [
            accept(),
            *[step for n in (1, 2, 3) for step in (claim(f"worker {n}", 1, NO), later(61))],
            TIMER,
            goes_on("worker 3", 1, 1),
        ],
        State.FAILED,
    ),
    "committed, the clock goes back, and another task comes": (
        [
            accept(),
            claim("worker 1", 3, OK, Verdict.ACCEPTED),
            Step("clock_steps", {"seconds": -7200}),
            claim("worker 2", 0),
            goes_on("worker 1", 1, 1),
        ],
        State.SENT,
    ),
    "a key stands for another message after its window": (
        [
            accept(key="a"),
            later(86_401),
            accept(key="a"),
            Step("accept", {**accept(key="a").arguments, "lost": True}),
            Step("send_again", {"producer": "producer 1"}),
        ],
        State.QUEUED,
    ),
}


def play(machine: JournalMachine, steps: list[Step]) -> None:
    machine.begin(doubt=DOUBT)
    machine.all_is_well()
    for rule, arguments, draws in steps:
        data = Drawn(draws)
        getattr(machine, rule)(**arguments, **({"data": data} if draws else {}))
        assert data.values == [], rule
        machine.all_is_well()


@pytest.mark.parametrize("name", HISTORIES)
def test_what_was_found_by_chance_stays_mended(redis_url: str, name: str) -> None:
    """A history that once broke an invariant breaks none, and leads to one state."""
    steps, state = HISTORIES[name]
    machine = JournalMachine(connect(redis_url, 30.0))
    play(machine, steps)
    assert machine.journal.read(["m0"])[0].state is state
    machine.teardown()
