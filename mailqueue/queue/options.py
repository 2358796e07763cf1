"""What an application asks for one message, by attributes that it sets on it.

In the manner of Anymail: ``message.send_at = …`` before ``message.send()``.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, NamedTuple

from mailqueue.conf.keys import QueueSettings
from mailqueue.errors import PayloadError

from .misnomer import refuse_misnomers

_LAST_YEAR = 9998  # what comes later can't be told in every time zone
# Seconds since 1970 that are a time of this age: the years 2000 to 5138. Less is meant as a length
# of time, more is in milliseconds.
_EPOCH_TIMES = 946_684_800, 100_000_000_000
_HOW = (
    "write datetime.now(UTC) + timedelta(minutes=10), a date and time in ISO 8601, or seconds "
    "since 1970"
)


class Priority(StrEnum):
    """Which of the waiting messages go first."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class Options(NamedTuple):
    """The wishes for one message. Times are aware."""

    send_at: datetime | None = None
    expires_at: datetime | None = None
    priority: Priority = Priority.NORMAL
    queue: str | None = None
    idempotency_key: str | None = None


def options_of(message: Any, queue: str | None = None) -> Options:
    """Read the message's attributes; ``queue`` is that of a message that names none.

    Raises PayloadError, naming the one that is wrong, or the one that a wrong name stands for.
    """
    refuse_misnomers(message)
    return Options(
        send_at=_read(message, "send_at", _moment),
        expires_at=_read(message, "expires_at", _moment),
        priority=_read(message, "priority", _priority) or Priority.NORMAL,
        queue=_read(message, "queue", QueueSettings.QUEUE.parse) or queue,
        idempotency_key=_read(message, "idempotency_key", _key),
    )


def _read(message: Any, name: str, parse: Callable[[Any], Any]) -> Any:
    value = getattr(message, name, None)
    if value is None or isinstance(value, type):  # Anymail's UNSET is a class
        return None
    try:
        return parse(value)
    except (TypeError, ValueError, OverflowError, OSError) as error:
        raise PayloadError(f"the message's {name} = {value!r}: {error}") from None


def _priority(value: Any) -> Priority:
    if not isinstance(value, str) or value not in [*Priority]:
        raise ValueError(f"must be one of {', '.join(map(repr, map(str, Priority)))}")
    return Priority(value)


def _moment(value: Any) -> datetime:
    """Read a datetime, a date (its beginning), seconds since 1970, or text.

    Text is in ISO 8601 or in the form of mail (RFC 5322, 3.3). What names no time zone is meant in
    local time.
    """
    if isinstance(value, str):
        value = _read_text(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = _read_number(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if isinstance(value, timedelta):
        raise TypeError(f"is a length of time, not a point in time: {_HOW}")
    if not isinstance(value, datetime):
        raise TypeError(f"is not a point in time: {_HOW}")
    if value.year > _LAST_YEAR:
        raise ValueError(f"is after the year {_LAST_YEAR}")
    return value.astimezone(UTC)


def _read_text(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        with suppress(ValueError):
            found = parsedate_to_datetime(text)
            # -0000 is a time in UTC, of somebody whose zone isn't known.
            return found if found.tzinfo else found.replace(tzinfo=UTC)
        raise ValueError(f"{error}: {_HOW}") from None


def _read_number(seconds: float) -> datetime:
    first, last = _EPOCH_TIMES
    if not first <= seconds < last:
        raise ValueError(f"is no time of this age in seconds since 1970: {_HOW}")
    return datetime.fromtimestamp(seconds, UTC)


def _key(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 255:
        raise ValueError("must be a string of 1 to 255 characters")
    return value
