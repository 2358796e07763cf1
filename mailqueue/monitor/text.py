"""Reports as text for a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

_WIDEST_CELL = 60


def table(
    headings: Sequence[str], rows: Sequence[Sequence[object]], widest: int | None = _WIDEST_CELL
) -> str:
    """Columns, each as wide as its widest cell; longer cells than ``widest`` are cut."""
    cells = [[_cell(value, widest) for value in row] for row in (headings, *rows)]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(_pad(*pair) for pair in zip(row, widths, strict=True)) for row in cells]
    return "\n".join(line.rstrip() for line in lines)


def status(found: Mapping[str, Any]) -> str:
    """The counts of each queue; states in which there is nothing are left out."""
    parts = [_subject(found["subject"])]
    parts += [_queue_status(queue) for queue in found["queues"]]
    parts += [_mailer_status(mailer) for mailer in found["mailers"]]
    spool = found["spool"] or {}
    counts = [
        f"{spool[kind]} {kind}" for kind in ("messages", "results", "damaged") if spool.get(kind)
    ]
    parts += ["spool: " + ", ".join(counts)] if counts else []
    warnings = "\n".join(f"warning: {_cell(warning, None)}" for warning in found["warnings"])
    return "\n\n".join([*parts, *([warnings] if warnings else [])])


def _subject(found: Mapping[str, Any]) -> str:
    """Which journal and settings a report speaks of; credentials are out of them already."""
    journal = found["journal"] or "unknown, by these settings"
    if found["home"]:
        journal = f"the embedded server in {found['home']}"
    return "\n".join(
        f"{name + ':':9} {_cell(value, None)}"
        for name, value in (("journal", journal), ("settings", found["settings"]))
    )


def _mailer_status(mailer: Mapping[str, Any]) -> str:
    times = {1: "once", 2: "twice"}.get(mailer["failures"], f"{mailer['failures']} times")
    return "\n".join(
        [
            f"mailer {mailer['mailer']}: {'ALARM, ' if mailer['alarm'] else ''}not used before "
            f"{mailer['not_before']}, failed {times} since {mailer['since']}",
            f"  {_cell(mailer['reason'], 500)}",
        ]
    )


def flush(found: Mapping[str, Any]) -> str:
    """What a replay of the spool came to, and a line for each file that it could not take."""
    lines = [
        f"{found['accepted']} messages accepted, {found['recorded']} results recorded, "
        f"{found['remaining']} remaining"
    ]
    lines += [f"damaged: {path}" for path in found["damaged"]]
    return "\n".join([*lines, *(f"not taken: {reason}" for reason in found["reasons"])])


def _queue_status(queue: Mapping[str, Any]) -> str:
    counts = [(state, count) for state, count in queue["states"].items() if count]
    silent = dict.fromkeys(queue["silent"], " (silent, has probably ended)")
    workers = ", ".join(name + silent.get(name, "") for name in queue["workers"]) or "none"
    lines = [f"queue {queue['queue']}, workers: {workers}"]
    if queue["others"]:
        others = ", ".join(name + silent.get(name, "") for name in queue["others"])
        lines.append(f"living, but taking no tasks of it: {others}")
    lines += [table(("state", "messages"), counts)] if counts else ["no messages"]
    if queue["waiting"]:
        lines.append(
            f"could be sent: {queue['waiting']}, the oldest for {queue['oldest']:.0f} s; "
            f"last claim: {_ago(queue['claimed'])}, last result: {_ago(queue['settled'])}"
        )
    return "\n".join(lines)


def _ago(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.0f} s ago"


def messages(found: Sequence[Mapping[str, Any]]) -> str:
    """What `mailqueue list` shows: one line for each message."""
    rows = [
        (m["id"], m["state"], m["attempts"], _recipients(m), m["subject"], m["reply"])
        for m in found
    ]
    return table(("id", "state", "attempts", "to", "subject", "last reply"), rows)


def message(found: Mapping[str, Any]) -> str:
    """All that is known of one message, nothing of it cut."""
    facts = ["id", "queue", "state", "subject", "from", "attempts", "created", "updated", "due"]
    lines = [
        f"{name + ':':10} {_cell(found[name], None)}" for name in facts if found[name] is not None
    ]
    recipients = [(r["address"], r["state"], r["reply"]) for r in found["recipients"]]
    history = [row for attempt in found["history"] for row in _attempt(attempt)]
    lines += ["", table(("recipient", "state", "reply"), recipients, None)]
    if history:
        lines += ["", table(("attempt", "at", "state", "worker", "reply"), history, None)]
    return "\n".join(lines)


def _attempt(found: Mapping[str, Any]) -> list[tuple[object, ...]]:
    """A line for the attempt and, where several recipients didn't get it, one for each of them."""
    line = (found["attempt"], found["at"], found["state"], found["worker"], found["reply"])
    replies = [f"{one['address']}: {one['reply']}" for one in found["replies"]]
    return [line, *(("", "", "", "", reply) for reply in replies if len(replies) > 1)]


def health(found: Mapping[str, Any]) -> str:
    """What it speaks of, and then one line, or one for each problem and warning."""
    lines = [_subject(found["subject"])]
    lines += ["ok"] if found["ok"] else [f"problem: {_cell(p, None)}" for p in found["problems"]]
    lines += [f"warning: {_cell(warning, None)}" for warning in found["warnings"]]
    return "\n".join(lines)


def live(found: Mapping[str, Any]) -> str:
    """A line for each worker of this machine that lives."""
    return "\n".join(f"{w['worker']} {w['node']} lives" for w in found["workers"]) or "no worker"


def check(found: Mapping[str, Any]) -> str:
    """A line for each thing that was looked at, or for each of its problems."""
    lines = [_subject(found["subject"])]
    for part in found["checks"]:
        lines += [f"{part['name'] + ':':13} {text}" for text in _verdicts(part)]
    return "\n".join(lines)


def _verdicts(part: Mapping[str, Any]) -> list[str]:
    lines = [f"problem: {_cell(problem, 500)}" for problem in part["problems"]]
    lines = lines or [f"ok, {_cell(part['found'], 500)}"]
    return lines + [f"warning: {_cell(warning, 500)}" for warning in part["warnings"]]


def purge(found: Mapping[str, int]) -> str:
    """How many records are gone, state by state."""
    shown = ", ".join(f"{count} {state}" for state, count in found.items() if count)
    return f"{sum(found.values())} records removed" + (f": {shown}" if shown else "")


def _recipients(found: Mapping[str, Any]) -> str:
    addresses = [recipient["address"] for recipient in found["recipients"]]
    more = f" and {len(addresses) - 1} more" if len(addresses) > 1 else ""
    return f"{addresses[0]}{more}" if addresses else ""


def _cell(value: object, limit: int | None) -> str:
    # A subject or a server's reply may hold anything; a terminal must not obey it.
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value))
    return text if limit is None or len(text) <= limit else text[: limit - 1] + "…"


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _pad(text: str, width: int) -> str:
    return text + " " * (width - _width(text))
