"""From the journal's hashes to records."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from ..errors import PayloadError
from ..sealing import KeyMissing
from .record import Attempt, Record, Result, State

_LOG = "log:"
_UNREADABLE = "(sealed with a key that is not here)"
_UNREADABLE_LINE = json.dumps({"state": State.RETRYING, "reply": _UNREADABLE})


def read_record(
    id_: str, queue: str, row: Mapping[str, str], opened: Callable[[str], str]
) -> Record:
    """Turn one message's hash into a Record; ``opened`` decrypts what is sealed."""
    summary = json.loads(opened(row["summary"]))
    return Record(
        id=id_,
        queue=queue,
        state=State(row["state"]),
        subject=summary["subject"],
        sender=summary["from"],
        recipients=tuple(summary["to"]),
        results=read_results(opened(row["results"])),
        attempts=int(row["attempts"]),
        reply=readable(row.get("reply", ""), opened),
        created=_time(row["created"]),
        updated=_time(row["updated"]),
        due=_time(row["due"]) if "due" in row else None,
        history=tuple(sorted(_history(row, opened), key=lambda attempt: attempt.number)),
        has_payload="payload" in row,
    )


def read_results(text: str) -> dict[str, Result]:
    """Turn the stored results of recipients into values."""
    return {a: Result(State(r["state"]), r["reply"]) for a, r in json.loads(text).items()}


def dump_results(results: Mapping[str, Result]) -> str:
    """Turn results of recipients into the text to be stored."""
    return json.dumps({a: {"state": r.state, "reply": r.reply} for a, r in results.items()})


def _history(row: Mapping[str, str], opened: Callable[[str], str]) -> list[Attempt]:
    return [_attempt(name, text, opened) for name, text in row.items() if name.startswith(_LOG)]


def _attempt(name: str, text: str, opened: Callable[[str], str]) -> Attempt:
    at, _, line = text.partition(" ")
    found = json.loads(readable(line, opened, _UNREADABLE_LINE))
    return Attempt(
        number=int(name.removeprefix(_LOG)),
        at=_time(at),
        state=State(found["state"]),
        reply=found["reply"],
        worker=found.get("worker", ""),
    )


def readable(text: str, opened: Callable[[str], str], instead: str = _UNREADABLE) -> str:
    """What was noted by a worker with other keys must not hide all the rest of a record."""
    try:
        return opened(text)
    except (KeyMissing, PayloadError):
        return instead


def _time(milliseconds: str) -> datetime:
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)
