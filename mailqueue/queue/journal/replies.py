"""The script's replies as named tuples: only here and in the signatures is their order known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mailqueue.state import State

from .record import (
    Acceptance,
    Advanced,
    Claim,
    Claimed,
    Due,
    InHand,
    Missing,
    Pulse,
    ServerClock,
    StateChange,
    Taken,
)


def read_accepted(reply: Sequence[Any]) -> list[Acceptance] | Missing:
    """What became of each message, or what has to be stored before."""
    if reply[:1] == ["missing"]:
        return Missing([str(name) for name in reply[1:]])
    return [
        Acceptance(str(id_), bool(needs_task))
        for id_, needs_task in zip(reply[::2], reply[1::2], strict=True)
    ]


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
    answers = [bool(answer) for answer in reply]
    return Advanced(answers[:results], answers[results:])


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


def read_pulse(reply: Sequence[Any]) -> Pulse:
    """Who lives, and what is overdue."""
    workers, overdue = reply
    return Pulse([str(worker) for worker in workers], int(overdue))


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
