"""The script's replies as named tuples: only here and in the signatures is their order known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mailqueue.state import State

from .. import quickjson
from .record import (
    Acceptance,
    Accepted,
    Advanced,
    Alarm,
    Beat,
    Claim,
    Claimed,
    Due,
    Faults,
    InHand,
    Missing,
    Pulse,
    ServerClock,
    StateChange,
    Taken,
)


def read_accepted(reply: Sequence[Any]) -> Accepted | Missing:
    """What became of each message, or what has to be stored before."""
    if reply[:1] == ["missing"]:
        return Missing([str(name) for name in reply[1:]])
    *rows, is_first = reply
    acceptances = [
        Acceptance(str(id_), bool(needs_task))
        for id_, needs_task in zip(rows[::2], rows[1::2], strict=True)
    ]
    return Accepted(acceptances, bool(is_first))


def read_claimed(reply: Sequence[Any]) -> Claimed:
    """What ``claim`` came to."""
    looked_at, *rows = reply
    return Claimed([_read_claim(*row) for row in rows], int(looked_at))


def read_taken(reply: Sequence[Any]) -> Taken:
    """What ``take`` came to."""
    left, *rows = reply
    return Taken([_read_claim(*row) for row in rows], int(left))


def read_advanced(reply: Sequence[Any], results: int) -> Advanced:
    """What ``advance`` came to, of which the first ``results`` answers are about results."""
    *said, urgent = reply
    answers = [bool(answer) for answer in said]
    return Advanced(answers[:results], answers[results:], int(urgent))


def read_due(reply: Sequence[Any]) -> list[Due]:
    """What tasks should be published for."""
    return [Due(str(id_), str(priority), int(lost) > 0) for id_, priority, lost in reply]


def read_changes(reply: Sequence[Any]) -> list[StateChange]:
    """What an operator's command came to."""
    return [
        StateChange(str(id_), bool(changed), State(state) if state else None)
        for id_, changed, state in reply
    ]


def read_in_hand(reply: Sequence[Any]) -> list[InHand]:
    """What is being sent."""
    return [InHand(str(id_), State(state), int(updated)) for id_, state, updated in reply]


def read_faults(reply: Sequence[Any]) -> Faults:
    """How many errors a message has had."""
    faults, counted = reply
    return Faults(int(faults), int(counted))


def read_alarms(reply: Sequence[Any]) -> list[Alarm]:
    """What keeps workers from sending."""
    return [Alarm(str(source), str(reason)) for source, reason in reply]


def read_pulse(reply: Sequence[Any]) -> Pulse:
    """Who lives, and whether the queue moves."""
    workers, waiting, oldest, claimed, settled, in_hand, longest = reply
    return Pulse(
        [_read_beat(*worker) for worker in workers],
        int(waiting),
        _seconds(oldest),
        _seconds(claimed),
        _seconds(settled),
        int(in_hand),
        _seconds(longest),
    )


def _read_beat(worker: str, age: int | str, facts: str) -> Beat:
    said = quickjson.loads(facts) if facts else {}
    queues, mailers = said.get("queues"), said.get("mailers")
    return Beat(
        worker,
        int(float(age)) / 1000,
        None if queues is None else tuple(queues),
        None if mailers is None else tuple(mailers),
    )


def _seconds(age: int | str) -> float | None:
    return None if int(age) < 0 else int(age) / 1000


def read_clock(reply: Sequence[Any]) -> ServerClock:
    """The server's clock."""
    return ServerClock(*(int(milliseconds) / 1000 for milliseconds in reply))


def _read_claim(
    id_: str,
    token: int | str,
    attempt: int | str,
    tries: int | str,
    age: int | str,
    results: str,
    payload: str,
    lost: int | str,
) -> Claim:
    return Claim(
        id=id_,
        token=str(token),
        attempt=int(attempt),
        tries=int(tries),
        age=int(age) / 1000,
        results=results,
        payload=payload,
        is_suspect=int(lost) > 0,
    )
