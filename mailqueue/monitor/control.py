"""What an operator does to messages: hold, resume, cancel, discard and purge, as plain data."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..connection import shared_breaker
from ..errors import JournalError
from ..journal import Change, Journal, State, open_journals
from . import report

_BITE = 1000  # records removed at a time, so that nobody has to wait long for the server
WAITING = (State.QUEUED, State.SCHEDULED, State.RETRYING, State.UNCERTAIN)
FINAL = tuple(state for state in State if state.final)


@dataclass(frozen=True)
class Action:
    """A command for messages by id.

    ``done`` is what it makes of them, ``states`` are those of which it takes all when it is told to
    take all, and ``content`` those in which a message needs no change.
    """

    do: Callable[[Journal, Sequence[str]], list[Change]]
    done: str
    states: Collection[State]
    content: Collection[State]


HOLD = Action(Journal.hold, "held", WAITING, {State.HELD})
RESUME = Action(
    Journal.resume, "resumed", {State.HELD}, {*WAITING, State.SENDING, State.COMMITTING}
)
CANCEL = Action(Journal.cancel, "cancelled", (*WAITING, State.HELD), {State.CANCELLED})
# Not what is held or in doubt: somebody meant to look at that, so it goes by id only.
DISCARD = Action(Journal.discard, "discarded", (State.FAILED, State.PARTIAL, State.EXPIRED), ())


def matching(action: Action, domain: str | None = None) -> list[str]:
    """The ids that the action takes when it is told to take all, or all with that domain."""
    if domain is None:
        return [
            id_
            for journal in open_journals()
            for state in action.states
            for id_ in journal.scan(state)
        ]
    return [
        found["id"]
        for state in action.states
        for found in report.find(report.Filter(state, domain=domain))
    ]


def change(action: Action, ids: Iterable[str]) -> dict[str, Any]:
    """Do it; return the ids that it changed, and the state of those that it could not change.

    An id that is in the state already is in neither list. The state is None where there is no
    message of that id.
    """
    wanted = list(dict.fromkeys(ids))
    changes = {id_: Change(id_, changed=False, state=None) for id_ in wanted}
    for journal in open_journals():
        known = [one for one in action.do(journal, wanted) if one.changed or one.state]
        changes |= {one.id: one for one in known}
    return {
        action.done: [one.id for one in changes.values() if one.changed],
        "refused": [
            {"id": one.id, "state": one.state and one.state.value}
            for one in changes.values()
            if not one.changed and one.state not in action.content
        ],
    }


def resume_mailer(name: str) -> None:
    """Let workers use a mailer at once that they leave alone.

    Raises JournalError where none of that name is left alone.
    """
    if not shared_breaker(name).close():
        raise JournalError(
            f"there is no mailer {name!r} that is left alone; `mailqueue status` shows those"
        )


def purge(states: Iterable[State], older_than: float) -> dict[str, int]:
    """Remove records that entered those final states more than so many seconds ago; count them."""
    removed = dict.fromkeys(states, 0)
    for journal in open_journals():
        for state in removed:
            bite = _BITE
            while bite == _BITE:  # fewer: what came since then may stay
                bite = journal.trim(state, older_than, _BITE)
                removed[state] += bite
    return {state.value: count for state, count in removed.items()}
