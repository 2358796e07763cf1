"""An access token, and for how long it is used."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import isnan

# What a header's or command's line can hold, without the ^A that ends a field (RFC 7628 3.1).
_USABLE = re.compile(r"[\x21-\x7e]+")
_EARLY = 300.0  # seconds before its end at which a token is replaced, as vendors' libraries do
_EARLY_SHARE = 0.1  # of its life at most, so that a short one is used too
_LONGEST = 86400.0  # seconds; nobody's token is good for longer without a look at its issuer
_WANTED = "the function must return a token and when it ends: (str, aware datetime or seconds)"


@dataclass(frozen=True)
class Token:
    """A token; its ends are seconds of the monotonic clock, which no correction of time moves."""

    text: str = field(repr=False)
    renew_at: float
    ends_at: float
    until: datetime  # the same end, for people


def read_token(given: object, clock: float, today: datetime) -> Token:
    """Read what a token function returned at that time of the monotonic and of the wall clock.

    A token that has ended is taken as well: where this machine's clock is wrong, the server may
    still accept it. Raises ValueError, which never shows what was returned.
    """
    if not isinstance(given, tuple) or len(given) != 2:
        raise ValueError(f"{_WANTED}, not {type(given).__name__}")
    text, end = given
    if not isinstance(text, str) or not _USABLE.fullmatch(text):
        raise ValueError(f"{_WANTED}; this token is no text of printable ASCII")
    seconds = min(max(_seconds_until(end, today), 0.0), _LONGEST)
    renew_at = clock + seconds - min(_EARLY, seconds * _EARLY_SHARE)
    return Token(text, renew_at, clock + seconds, today + timedelta(seconds=seconds))


def _seconds_until(end: object, today: datetime) -> float:
    if isinstance(end, datetime):
        if end.tzinfo is None:
            raise ValueError(f"{_WANTED}; this datetime has no time zone")
        return (end.astimezone(UTC) - today).total_seconds()
    if isinstance(end, bool) or not isinstance(end, int | float) or isnan(end):
        raise ValueError(f"{_WANTED}; this end is {type(end).__name__}")
    return float(end)
