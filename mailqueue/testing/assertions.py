"""Assertions about what was queued and what was sent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import mailqueue

from .queue import MailQueue


def assert_queued(count: int | None = None, **fields: str) -> list[dict[str, Any]]:
    """Assert that messages wait in the queue; return them as `mailqueue show --json` would.

    ``to`` is a part of a recipient's address, ``subject`` a part of the subject. Without ``count``
    there must be at least one.
    """
    waiting = [found for found in MailQueue().queued if _matches(_fields_of(found), fields)]
    return _count(waiting, count, fields, "queued")


def assert_sent(count: int | None = None, **fields: str) -> list[Any]:
    """Assert that messages lie in ``mailqueue.outbox``; return them. Arguments as assert_queued."""
    sent = [found for found in getattr(mailqueue, "outbox", []) if _matches(_traits(found), fields)]
    return _count(sent, count, fields, "sent")


def _fields_of(found: Mapping[str, Any]) -> dict[str, str]:
    recipients = " ".join(recipient["address"] for recipient in found["recipients"])
    return {"to": recipients, "subject": found["subject"]}


def _traits(message: Any) -> dict[str, str]:
    return {"to": " ".join(message.recipients()), "subject": str(message.subject)}


def _matches(traits: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    unknown = wanted.keys() - traits.keys()
    if unknown:
        raise TypeError(f"no such field: {', '.join(sorted(unknown))}; there are to and subject")
    return all(re.search(re.escape(wanted[name]), traits[name], re.I) for name in wanted)


def _count(found: list[Any], count: int | None, fields: Mapping[str, str], what: str) -> list[Any]:
    wanted = "at least one" if count is None else str(count)
    if (count is None and not found) or (count is not None and len(found) != count):
        about = ", ".join(f"{name}={value!r}" for name, value in fields.items()) or "any"
        raise AssertionError(f"{wanted} wanted, {len(found)} {what} ({about})")
    return found
