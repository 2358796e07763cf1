"""What became of the messages of one run, in the journal and in the inbox, on one screen."""

import re
from collections import Counter
from itertools import groupby, takewhile
from pathlib import Path

from mailqueue.monitor import report, text
from mailqueue.state import State

HEADINGS = ("message", "state", "attempts", "to", "subject", "last reply")


def waiting() -> int:
    """How many messages have not come to their end."""
    states = report.status()["queues"][0]["states"]
    return sum(count for state, count in states.items() if not State(state).final)


def of_run(sender: str) -> list[dict]:
    """The messages from that sender, in the order of sending."""
    found = [m for m in report.find(report.Filter()) if m["from"] == sender]
    return sorted(found, key=lambda m: m["created"])


def delivered(maildir: Path, address: str) -> Counter:
    """How many copies from that address each recipient has in the inbox."""
    copies: Counter = Counter()
    for path in [*maildir.glob("new/*"), *maildir.glob("cur/*")]:
        with path.open("rb") as file:
            sender, recipients = file.readline().decode(), file.readline().decode()
        if sender.strip() == f"Return-Path: <{address}>":
            copies.update(recipients.partition(":")[2].split())
    return copies


def table(fates: list[dict]) -> str:
    """A line for each message; messages that differ in nothing but numbers share one."""
    alike = sorted(fates, key=shape)
    groups = [list(group) for _, group in groupby(alike, key=shape)]
    groups.sort(key=lambda group: group[0]["created"])
    return text.table(HEADINGS, [row(group) for group in groups])


def shape(message: dict) -> tuple:
    texts = message["subject"], to(message), message["reply"]
    return message["state"], message["attempts"], *(re.sub(r"\d+", "#", t) for t in texts)


def row(group: list[dict]) -> tuple:
    first = group[0]
    return (
        first["id"] if len(group) == 1 else f"{len(group)} messages",
        first["state"],
        first["attempts"],
        span([to(message) for message in group]),
        span([message["subject"] for message in group]),
        beginning([message["reply"] for message in group]),
    )


def to(message: dict) -> str:
    return ", ".join(recipient["address"] for recipient in message["recipients"])


def span(texts: list[str]) -> str:
    """Texts of one shape as one: `n-1@example.com` and `n-2@example.com` as `n-1…2@example.com`."""
    columns = zip(*(re.split(r"(\d+)", t) for t in texts), strict=True)
    return "".join(part(set(column)) for column in columns)


def part(values: set[str]) -> str:
    lowest, highest = min(values, key=natural), max(values, key=natural)
    return lowest if lowest == highest else f"{lowest}…{highest}"


def natural(value: str) -> tuple[int, str]:
    return len(value), value


def beginning(texts: list[str]) -> str:
    """What all of them begin with."""
    columns = takewhile(lambda column: len(set(column)) == 1, zip(*texts, strict=False))
    common = "".join(column[0] for column in columns)
    return common if common == texts[0] else f"{common}…"
