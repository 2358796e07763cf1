"""The journal's clock: what a worker's timer makes of its server's, which may step."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mailqueue.queue.journal import Entry, Journal, Policy, Settlement, Timekeeper
from mailqueue.queue.journal.record import ServerClock
from mailqueue.state import State
from tests.contracts.journals import SENT, Clock, accepted, claimed, entry, ids_of, state, under

HOUR = 3600
STEPS = pytest.mark.parametrize("step", [-HOUR, HOUR])
USUAL = Policy(lease=60, grace=5, regrace=60)


@pytest.fixture
def journal(journal: Journal) -> Journal:
    return under(journal, USUAL)


@pytest.fixture
def timer(journal: Journal, clock: Clock) -> Timekeeper:
    """A living worker's, which has looked twice."""
    timer = Timekeeper(journal, lambda: clock.seconds)
    timer.look()
    timer.look()
    return timer


def retrying(journal: Journal) -> None:
    accepted(journal, "m")
    journal.settle(claimed(journal, "m"), Settlement(State.RETRYING, "451 later", delay=50))


def claim_for(journal: Journal, lease: float) -> None:
    accepted(journal, "m")
    under(journal, Policy(lease=lease)).claim([("m", "")])


def accept(journal: Journal, message: Entry) -> None:
    journal.accept([message])


# What waits for 50 seconds, each in its own way.
WAITS: dict[str, Callable[[Journal, Clock], object]] = {
    "scheduled": lambda journal, clock: accept(journal, entry("m", send_at=clock.after(50))),
    "expiring": lambda journal, clock: accept(
        journal, entry("m", send_at=clock.after(99), expires_at=clock.after(50))
    ),
    "retrying": lambda journal, _: retrying(journal),
    "claimed": lambda journal, _: claim_for(journal, 50),
}


@STEPS
@pytest.mark.parametrize("noticed", [True, False], ids=["noticed", "not yet"])
@pytest.mark.parametrize("name", WAITS)
def test_what_waits_does_so_as_long_as_before(journal, clock, timer, name, step, noticed):
    """Whether the step comes while it waits, or just before, and no timer has noticed."""
    if noticed:
        WAITS[name](journal, clock)
    clock.step(step)
    if not noticed:
        WAITS[name](journal, clock)
    before = state(journal, "m")
    assert journal.release() == []
    assert journal.claim([("m", "")]) == ([], 1)
    timer.look()
    assert journal.read(["m"])[0].due == clock.after(50)
    clock.advance(49)
    timer.look()
    assert journal.release() == []
    assert state(journal, "m") is before
    clock.advance(1)
    timer.look()
    assert ids_of(journal.release()) == ([] if name == "expiring" else ["m"])
    assert state(journal, "m") is (State.EXPIRED if name == "expiring" else State.QUEUED)


@STEPS
def test_what_is_looked_at_because_it_expires_is_so_as_before(journal, clock, timer, step):
    """Its next try would be later, and was planned when no timer had noticed the step."""
    accept(journal, entry("m", expires_at=clock.after(50)))
    claim = claimed(journal, "m")
    clock.step(step)
    journal.settle(claim, Settlement(State.RETRYING, "451 later", delay=99))
    timer.look()
    assert journal.release() == []
    clock.advance(51)
    timer.look()
    assert journal.release() == []
    assert state(journal, "m") is State.EXPIRED


@STEPS
def test_nothing_is_removed_because_of_a_step(journal, clock, timer, step):
    """A record is kept for as long as was asked for."""
    accepted(journal, "m")
    journal.settle(claimed(journal, "m"), SENT)
    clock.step(step)
    assert journal.trim(State.SENT, HOUR - 1) == 0
    timer.look()
    assert journal.trim(State.SENT, HOUR - 1) == 0
    clock.advance(HOUR)
    timer.look()
    assert journal.trim(State.SENT, HOUR - 1) == 1


@STEPS
def test_what_was_claimed_before_a_step_was_noticed_looks_no_newer(journal, clock, timer, step):
    """For an hour it would look as though the queue moved, whatever became of its workers."""
    accepted(journal, "m")
    clock.step(step)
    claimed(journal, "m")
    timer.look()
    clock.advance(90)
    timer.look()
    assert journal.pulse().claimed == 90


@STEPS
def test_an_error_before_a_step_was_noticed_excuses_no_later_ones(journal, clock, timer, step):
    """Each later one counts against the message where others were sent in between."""
    accepted(journal, "m")
    claim = claimed(journal, "m")
    clock.step(step)
    assert journal.note_fault(claim, None) == (1, 0)
    journal.give_back(claim)
    timer.look()
    clock.advance(20)
    timer.look()
    assert journal.note_fault(claimed(journal, "m"), 10) == (2, 1)


@STEPS
def test_a_timers_tick_lasts_no_longer(journal, clock, timer, step):
    """However far back the clock is now, a second later the next timer may act."""
    journal.release(tick=1)
    clock.step(step)
    timer.look()
    accepted(journal, "m")
    clock.advance(6)
    timer.look()
    assert ids_of(journal.release(tick=1)) == ["m"]


@STEPS
def test_of_several_timers_the_first_one_evens_it_out(journal, clock, timer, step):
    """The others see that it has been done, and do nothing about it."""
    other = Timekeeper(journal, lambda: clock.seconds)
    other.look()
    clock.step(step)
    for _ in range(3):
        timer.look()
        other.look()
        clock.advance(1)
        assert journal.read_clock().journal_time == clock.seconds


@STEPS
def test_of_two_timers_that_notice_at_once_one_evens_it_out(journal, clock, timer, step):
    """Whoever asked before, and says so after, is too late."""
    clock.step(step)
    seen = journal.read_clock()
    timer.look()
    assert not journal.set_clock(seen, seen.offset - step - 1)
    assert journal.read_clock().journal_time == clock.seconds


def test_a_worker_whose_machine_stood_still_blames_no_clock(journal, clock, timer):
    """Where another worker lived meanwhile, it has seen that the server's clock went evenly."""
    stood = 0
    sleeper = Timekeeper(journal, lambda: clock.seconds - stood)
    sleeper.look()
    sleeper.look()
    for _ in range(3):
        clock.advance(20)
        timer.look()
    stood = 60
    sleeper.look()
    timer.look()
    assert journal.read_clock().journal_time == clock.seconds


def test_time_that_passed_without_any_worker_has_passed(journal, clock, timer):
    """The first timer that comes takes it for that at its second look."""
    retrying(journal)
    clock.advance(HOUR)
    later = Timekeeper(journal, lambda: clock.seconds)
    later.look()
    assert journal.release() == []
    later.look()
    assert ids_of(journal.release()) == ["m"]


@STEPS
def test_a_clock_is_known_from_the_first_look_on(journal, clock, step):
    """A step in the first second of the first worker's life is noticed like any other."""
    timer = Timekeeper(journal, lambda: clock.seconds)
    timer.look()
    clock.step(step)
    accept(journal, entry("m", send_at=clock.after(50)))
    timer.look()
    assert journal.read(["m"])[0].due == clock.after(50)
    assert journal.release() == []


def test_a_step_back_without_any_worker_is_noticed_by_the_next(journal, clock, timer):
    """What was seen on the clock can't be yet to come."""
    retrying(journal)
    clock.step(-HOUR)
    later = Timekeeper(journal, lambda: clock.seconds)
    later.look()
    clock.advance(50)
    later.look()
    assert ids_of(journal.release()) == ["m"]


@pytest.mark.parametrize("wrong", [-HOUR, -4, 4, HOUR])
def test_a_time_is_meant_as_on_the_programs_clock(journal, clock, wrong):
    """If that is far from the journal's, what counts is how long there is until then."""
    journal._clock = lambda: clock.seconds + wrong
    journal.accept(
        [entry("m", send_at=clock.after(50 + wrong), expires_at=clock.after(99 + wrong))]
    )
    (record,) = journal.read(["m"])
    assert record.due == clock.after(50 + wrong)
    clock.advance(60)
    assert ids_of(journal.release()) == ["m"]


class Scripted:
    """A clock that says what it is told to; ``journal`` has it ask and answer at given times."""

    queue = "q"

    def __init__(self, *says: float) -> None:
        self.says, self.offsets = list(says), [0.0]

    def read_clock(self) -> ServerClock:
        return ServerClock(self.says.pop(0), self.offsets[-1], 0)

    def set_clock(self, clock: ServerClock, offset: float) -> bool:
        self.offsets.append(offset)
        return True


@pytest.mark.parametrize(
    ("second", "moments", "offset"),
    [
        (101, (0, 0, 1, 1), 0),
        (160, (0, 0, 1, 61), 0),  # the answer took a minute, and nobody knows when it was given
        (100, (0, 60, 61, 61), 0),
        (160, (0, 0, 60, 60), 0),  # the worker was stopped meanwhile
        (101.9, (0, 0, 1, 1), 0),
        (104, (0, 0, 1, 1), -3),
        (97, (0, 0, 1, 1), 4),
        (200, (0, 0, 1, 61), -39),
    ],
)
def test_a_step_is_what_can_not_have_passed(second, moments, offset):
    """Between two looks passes what our own clock says, but for how long the answers took."""
    kept, times = Scripted(100, second), iter(moments)
    timer = Timekeeper(kept, lambda: next(times))
    timer.look()
    timer.look()
    assert kept.offsets[-1] == pytest.approx(offset)
