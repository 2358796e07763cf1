"""Whether mail moves, and what is in its way: decided from facts, without asking anybody."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mailqueue.queue.journal import Beat, Pulse

# Seconds that a message may wait while nothing moves. A worker's restart takes some; a task that
# was lost is published again after five, and the lease of a lost worker ends after sixty.
STUCK_AFTER = 60.0
# One message's whole conversation with the server, whose final reply alone has ten minutes
# (RFC 5321 4.5.3.2.6).
_IN_HAND_FOR_EVER = 900.0


@dataclass(frozen=True)
class Queue:
    """What is known of a queue; ``meant`` where it is the one of the settings.

    ``unsent`` messages are queued, retrying or being sent. ``tasks`` of it wait in the broker; None
    where that can't be told.
    """

    name: str
    pulse: Pulse
    unsent: int = 0
    meant: bool = True
    tasks: int | None = None

    @property
    def takers(self) -> list[Beat]:
        """The living workers that take its tasks."""
        return [beat for beat in self.pulse.beats if beat.takes(self.name)]

    @property
    def matters(self) -> bool:
        """Whether somebody has to take it: a queue of old, with nothing in it, may be forgotten."""
        return self.meant or self.unsent > 0


class Mailer(NamedTuple):
    """A mailer that can't be used, for ``since`` seconds; ``alarm`` where that is our mistake."""

    name: str
    alarm: bool
    reason: str
    since: float


@dataclass(frozen=True)
class Facts:
    """What ``problems`` is to be judged by; ``broker`` says what is wrong with it, or ""."""

    queues: Sequence[Queue]
    mailers: Sequence[Mailer] = ()
    broker: str = ""

    @property
    def beats(self) -> Mapping[str, Beat]:
        """The living workers by name: each beats for all queues that it knows."""
        return {beat.worker: beat for queue in self.queues for beat in queue.pulse.beats}


def problems(facts: Facts) -> list[str]:
    """What keeps mail from moving, each with what to do; empty where it moves."""
    found: list[str] = []
    if facts.broker:
        found.append(f"the broker {facts.broker}")
    return [*found, *problems_of_workers(facts), *_of_mailers(facts)]


def problems_of_workers(facts: Facts) -> list[str]:
    """Those of them that workers have, and neither the broker nor a mailer."""
    # Where a message waits for the broker, or for its mailer, no worker is to blame.
    excused = bool(facts.broker) or any(_of_mailers(facts))
    found: list[str] = []
    for queue in facts.queues:
        found += _of_takers(queue, facts)
        found += [] if excused else _of_stillness(queue)
        found += _of_hand(queue)
    return found


def used_mailers(facts: Facts) -> set[str] | None:
    """The mailers of living workers that take one of the queues; None where one doesn't say."""
    takers = [beat for queue in facts.queues for beat in queue.takers]
    if any(beat.mailers is None for beat in takers):
        return None
    return {name for beat in takers for name in beat.mailers or ()}


def _of_mailers(facts: Facts) -> Iterator[str]:
    used, waits = used_mailers(facts), any(queue.unsent for queue in facts.queues)
    for mailer in facts.mailers:
        if used is not None and mailer.name not in used:
            continue
        if mailer.alarm:
            yield (
                f"the mailer {mailer.name} can't be used, and that is our own mistake: "
                f"{mailer.reason}"
            )
        elif waits and mailer.since >= STUCK_AFTER:
            yield (
                f"the mailer {mailer.name} can't be used since {mailer.since:.0f} s: "
                f"{mailer.reason}. Mail waits until it can: mend it, or see whether it is away"
            )


def _of_takers(queue: Queue, facts: Facts) -> Iterator[str]:
    if queue.takers or not queue.matters:
        return
    waiting = f", in which {queue.unsent} messages wait" if queue.unsent else ""
    said = f"no worker takes from the queue {queue.name!r}{waiting}: "
    living = facts.beats.values()
    cut_off = sorted(beat.worker for beat in living if not beat.queues)
    others = sorted({name for beat in living for name in beat.queues or ()})
    if not living:
        yield f"{said}start `mailqueue worker`"
    elif others:
        yield (
            f"{said}those that live take {_names(others)}. Start one for it, by -Q or by "
            "MAILQUEUE['QUEUE'], or correct that setting or the message's `queue`"
        )
    elif not facts.broker:  # for want of which they take none
        yield (
            f"{said}{', '.join(cut_off)} has no connection to its broker, or was told to take "
            "none (cancel_consumer). See its log"
        )


def _of_stillness(queue: Queue) -> Iterator[str]:
    pulse = queue.pulse
    if not queue.takers or not _stands_still(pulse):
        return
    yield (
        f"the queue {queue.name!r} doesn't move: {pulse.waiting} messages could be sent, the "
        f"oldest since {pulse.oldest:.0f} s; {_last(pulse)}. {_advice(queue)}"
    )


def _stands_still(pulse: Pulse) -> bool:
    if pulse.oldest is None or pulse.oldest < STUCK_AFTER:
        return False
    since = [age for age in (pulse.claimed, pulse.settled) if age is not None]
    return min(since, default=STUCK_AFTER) >= STUCK_AFTER


def _last(pulse: Pulse) -> str:
    claimed = "none was ever claimed" if pulse.claimed is None else ""
    claimed = claimed or f"the last claim was {pulse.claimed:.0f} s ago"
    settled = "" if pulse.settled is None else f", the last result {pulse.settled:.0f} s ago"
    return claimed + settled


def _advice(queue: Queue) -> str:
    names = ", ".join(beat.worker for beat in queue.takers)
    if queue.pulse.in_hand:
        return (
            f"{names} has {queue.pulse.in_hand} in hand: its mail server is slow to answer, or it "
            "hangs. See its log, and restart it if it hangs"
        )
    if queue.tasks:
        return f"{queue.tasks} tasks wait in the broker, and {names} takes none: restart it"
    return f"{names} has no task for it. See its log, and restart it"


def _of_hand(queue: Queue) -> Iterator[str]:
    longest = queue.pulse.longest
    if longest is not None and longest >= _IN_HAND_FOR_EVER and queue.takers:
        yield (
            f"a message of the queue {queue.name!r} is being sent since {longest:.0f} s: its "
            "worker hangs. `mailqueue list --state sending` shows it; restart the worker"
        )


def _names(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))
