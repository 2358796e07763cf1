"""What an application asks for one message, by attributes that it sets on it.

In the manner of Anymail: ``message.send_at = …`` before ``message.send()``.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time
from enum import StrEnum
from typing import Any, NamedTuple

from mailqueue.conf.keys import QueueSettings
from mailqueue.errors import PayloadError

_LAST_YEAR = 9998  # what comes later can't be told in every time zone


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

    Raises PayloadError, naming the one that is wrong.
    """
    return Options(
        send_at=_read(message, "send_at", _moment),
        expires_at=_read(message, "expires_at", _moment),
        priority=_read(message, "priority", Priority) or Priority.NORMAL,
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


def _moment(value: Any) -> datetime:
    """Read a datetime, a date (its beginning), seconds since 1970, or text in ISO 8601.

    What names no time zone is meant in local time.
    """
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, bool):
        raise TypeError("is not a point in time")
    if isinstance(value, (int, float)):
        value = datetime.fromtimestamp(value, UTC)
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if not isinstance(value, datetime):
        raise TypeError("is not a point in time")
    if value.year > _LAST_YEAR:
        raise ValueError(f"is after the year {_LAST_YEAR}")
    return value.astimezone(UTC)


def _key(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 255:
        raise ValueError("must be a string of 1 to 255 characters")
    return value
