"""What an operator does to messages: hold, resume, cancel, discard and purge, as plain data."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from mailqueue.conf.spool import spool_directory
from mailqueue.delivery.opening import shared_breaker
from mailqueue.errors import JournalError, JournalUnavailable
from mailqueue.queue.caretaker import look_after
from mailqueue.queue.journal import Journal, StateChange, open_journals
from mailqueue.queue.spool import Replay, spools_to_replay
from mailqueue.state import WAITING, State
from mailqueue.store.opening import open_store

from . import report
from .report import Filter, records, show

_FLUSHED_LATELY = 300.0  # seconds between flushes by a timer, at most
_BITE = 1000  # records removed at a time, so that nobody has to wait long for the server


@dataclass(frozen=True)
class Action:
    """A command for messages by id.

    ``done`` is what it makes of them, ``states`` are those of which it takes all when it is told to
    take all, and ``content`` those in which a message needs no change.
    """

    do: Callable[[Journal, Sequence[str]], list[StateChange]]
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
    changes = {id_: StateChange(id_, changed=False, state=None) for id_ in wanted}
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


# Why a message in that state is not queued again, and what to do instead.
_WHY_NOT_RETRIED = {
    State.QUEUED: "it waits for a worker already",
    State.SCHEDULED: "it is sent when its time comes, {due}",
    State.SENDING: (
        "a worker is sending it; if that worker has died, it is queued again by itself at {due}"
    ),
    State.COMMITTING: (
        "its final dot is being sent, or was, and no reply is on record yet; if its worker has "
        "died, it is uncertain from {due} on, and can be retried then, unless it has arrived"
    ),
    State.HELD: "`mailqueue resume {id}` queues it",
    State.SENT: "every recipient has it, and what is sent is never sent again",
    State.CANCELLED: "its content is gone; the program has to send it anew",
}


def flush_spool() -> dict[str, Any]:
    """Hand the spool to the journal: what it took, how many files remain, and why."""
    found = Replay()
    for spool in spools_to_replay():
        found.add(spool.replay())
    _note_flush()
    return asdict(found) | {"remaining": _remaining()}


def _remaining() -> int | None:
    try:
        waiting = [spool.waiting() for spool in spools_to_replay()]
    except OSError:
        return None
    return sum(one.messages + one.results for one in waiting)


def _note_flush() -> None:
    """Say in the journal that the spool is looked after: flushed by a timer, it needs no worker."""
    with suppress(OSError, JournalUnavailable):
        look_after(open_store().client, spool_directory(), _FLUSHED_LATELY)


def retry(ids: Iterable[str]) -> list[str]:
    """Queue these messages again; return those for which that was possible."""
    wanted = list(ids)
    return [id_ for journal in open_journals() for id_ in journal.retry(wanted)]


def why_not_retried(id_: str) -> str:
    """In words, why a message could not be queued again, and what to do."""
    try:
        found = show(id_)
    except JournalError as error:
        return str(error)
    reason = _WHY_NOT_RETRIED.get(State(found["state"]), "it has changed just now: try again")
    return f"{id_} is {found['state']}: {reason.format(**found)}"


def retry_matching(wanted: Filter) -> list[str]:
    """Queue again all failed and partly failed messages that match."""
    states = [State.FAILED, State.PARTIAL]
    chosen = [Filter(state, wanted.to, wanted.domain) for state in states]
    return retry([record.id for one in chosen for record in records(one)])
