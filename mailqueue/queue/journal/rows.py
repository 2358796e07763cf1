"""From the journal's hashes to records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from mailqueue.errors import PayloadError
from mailqueue.state import State
from mailqueue.store.sealing import KeyMissing, Sealer, instead_of

from .. import quickjson
from .record import Attempt, Record, Result

WITHOUT_PAYLOAD = frozenset({State.SENT, State.CANCELLED})  # where it was emptied, or is gone
_LOG = "log:"
# What a message's end means for those of its recipients who have no result of their own.
_ENDS_OF_RECIPIENTS = {
    State.SENT: State.SENT,
    State.PARTIAL: State.FAILED,
    State.FAILED: State.FAILED,
    State.CANCELLED: State.CANCELLED,
    State.EXPIRED: State.EXPIRED,
}
_BEYOND_ALL_CALENDARS = datetime.max.replace(tzinfo=UTC)
# What reading what is sealed, or JSON, raises.
_UNREADABLE = (KeyMissing, PayloadError, ValueError, TypeError, KeyError, AttributeError)


def read_record(
    id_: str, queue: str, row: Mapping[str, str], sealer: Sealer, shift: int = 0
) -> Record:
    """Turn one message's hash into a Record; ``sealer`` opens what is sealed.

    To its times ``shift`` milliseconds are added: the reader's clock may be another.

    The reply is that of the history's last line, unless there is a newer one. What can't be read,
    for want of a key or because it is damaged, is shown as just that: it must not hide the rest of
    the record, nor the other records.
    """
    state = State(row["state"])
    subject, sender, recipients = _summary(row["summary"], sealer)
    history = sorted(_history(row, sealer, shift), key=lambda attempt: attempt.number)
    newer = sealer.readable(row["reply"]) if row.get("reply") else ""
    reply = newer or (history[-1].reply if history else "")
    results = _results(row.get("results") or "{}", sealer)
    return Record(
        id=id_,
        queue=queue,
        state=state,
        subject=subject,
        sender=sender,
        recipients=recipients,
        results=_completed(results, state, reply, recipients),
        attempts=_number(row.get("attempts", "")),
        reply=reply,
        created=_time(row["created"], shift),
        updated=_time(row.get("updated", row["created"]), shift),
        due=_time(row["due"], shift) if row.get("due") else None,
        history=tuple(history),
        has_payload="payload" in row and state not in WITHOUT_PAYLOAD,
        replies=_newest_replies(history, newer, recipients, results or {}),
        priority=row.get("priority") or "normal",
    )


def read_results(text: str) -> dict[str, Result]:
    """Turn the stored results of recipients into values."""
    return {a: Result(State(r["state"]), r["reply"]) for a, r in quickjson.loads(text).items()}


def dump_results(results: Mapping[str, Result]) -> str:
    """Turn results of recipients into the text to be stored."""
    return quickjson.dumps({a: {"state": r.state, "reply": r.reply} for a, r in results.items()})


def _history(row: Mapping[str, str], sealer: Sealer, shift: int) -> list[Attempt]:
    lines = {name: text for name, text in row.items() if name.startswith(_LOG)}
    return [_attempt(name, text, sealer, shift) for name, text in lines.items()]


def _attempt(name: str, text: str, sealer: Sealer, shift: int) -> Attempt:
    number = _number(name.removeprefix(_LOG))
    at, _, line = text.partition(" ")
    try:
        found = quickjson.loads(sealer.open(line))
        state, reply, worker = State(found["state"]), found["reply"], found.get("worker", "")
        replies = dict(found.get("replies", {}))
    except _UNREADABLE as error:
        state, reply, worker, replies = State.RETRYING, instead_of(error), "", {}
    return Attempt(number, _time(at, shift), state, reply, worker, replies)


def _summary(text: str, sealer: Sealer) -> tuple[str, str, tuple[str, ...]]:
    try:
        found = quickjson.loads(sealer.open(text))
        return found["subject"], found["from"], tuple(found["to"])
    except _UNREADABLE as error:
        instead = instead_of(error)
        return instead, instead, (instead,)


def _results(text: str, sealer: Sealer) -> dict[str, Result] | None:
    """Those that are stored; None if they can't be read."""
    try:
        return read_results(sealer.open(text))
    except _UNREADABLE:
        return None


def _completed(
    results: Mapping[str, Result] | None, state: State, reply: str, recipients: Sequence[str]
) -> dict[str, Result]:
    """The results of all recipients where the message has ended: nobody waits for anything then.

    A message may end without an attempt: cancelled, too late, or with a payload that can't be read.
    """
    end = _ENDS_OF_RECIPIENTS.get(state)
    if end is None or (results is None and state is State.PARTIAL):
        return dict(results or {})
    return {address: Result(end, reply) for address in recipients} | dict(results or {})


def _newest_replies(
    history: Sequence[Attempt], newer: str, recipients: Sequence[str], results: Mapping[str, Result]
) -> dict[str, str]:
    """The newest reply to each recipient who waits.

    A worker that vanished, a doubt, and what came to no attempt are about all of them.
    """
    found: dict[str, str] = {}
    for attempt in history:
        # What an earlier version wrote of a retry is about one of them, and doesn't say of whom.
        about = recipients if attempt.state is not State.RETRYING else ()
        found |= attempt.replies or dict.fromkeys(about, attempt.reply)
    found |= dict.fromkeys(recipients if newer else (), newer)
    return {a: found[a] for a in recipients if a in found and a not in results}


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return 0


def _time(milliseconds: str, shift: int) -> datetime:
    try:
        return datetime.fromtimestamp((_number(milliseconds) + shift) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return _BEYOND_ALL_CALENDARS
