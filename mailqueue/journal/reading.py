"""From the journal's hashes to records."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from .record import Attempt, Record, Result, State

_LOG = "log:"


def read_record(id_: str, queue: str, row: Mapping[str, str]) -> Record:
    """Turn one message's hash into a Record."""
    summary = json.loads(row["summary"])
    return Record(
        id=id_,
        queue=queue,
        state=State(row["state"]),
        subject=summary["subject"],
        sender=summary["from"],
        recipients=tuple(summary["to"]),
        results=read_results(row["results"]),
        attempts=int(row["attempts"]),
        reply=row.get("reply", ""),
        created=_time(row["created"]),
        updated=_time(row["updated"]),
        due=_time(row["due"]) if "due" in row else None,
        history=tuple(sorted(_history(row), key=lambda attempt: attempt.number)),
        has_payload="payload" in row,
    )


def read_results(text: str) -> dict[str, Result]:
    """Turn the stored results of recipients into values."""
    return {a: Result(State(r["state"]), r["reply"]) for a, r in json.loads(text).items()}


def _history(row: Mapping[str, str]) -> list[Attempt]:
    return [_attempt(name, text) for name, text in row.items() if name.startswith(_LOG)]


def _attempt(name: str, text: str) -> Attempt:
    at, _, line = text.partition(" ")
    found = json.loads(line)
    return Attempt(
        number=int(name.removeprefix(_LOG)),
        at=_time(at),
        state=State(found["state"]),
        reply=found["reply"],
        worker=found.get("worker", ""),
    )


def _time(milliseconds: str) -> datetime:
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)
