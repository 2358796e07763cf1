"""Attributes whose names come close to an option's, and which would do nothing."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from mailqueue.errors import PayloadError

from .payload.attribute import is_left_behind

OPTIONS = ("send_at", "expires_at", "priority", "queue", "idempotency_key")
# What others call it, in letters only.
_OTHERS_NAMES = {
    "send_at": "sendafter sendlater sendon sendin sendtime senddate senddatetime delay delayuntil "
    "delayeduntil deliverat deliverafter deliveron deliverytime eta countdown scheduleat "
    "schedulefor scheduledat scheduledfor scheduledtime notbefore",
    "expires_at": "expires expire expiresin expirein expiresafter expireafter expireson expireon "
    "expiry expiryat expirytime expirydate expiration expirationtime expirationdate ttl "
    "validuntil notafter",
    "priority": "prio",
    "queue": "queuename mailqueue",
    "idempotency_key": "idempotency idempotencyid idempotencekey idempotentkey deduplicationkey "
    "dedupkey dedupekey",
}
_MEANT = {name: option for option, names in _OTHERS_NAMES.items() for name in names.split()}
_LETTERS = {option.replace("_", ""): option for option in OPTIONS}
# Close, and something else, such as what applications note of a message.
_NO_MISNOMERS = {"sentat", "sendas", "sendit", "expiredat", "queued", "queues"}


def refuse_misnomers(message: Any) -> None:
    """Raise PayloadError for an attribute whose name comes close to an option's, and is none.

    It would be carried along like any other, and the wish that it expresses would be lost.
    """
    kind: Any = type(message)
    names = tuple(getattr(message, "__dict__", ()))
    for name in (*_misnomers(names), *_of_class(kind)):
        value = getattr(message, name, None)
        if value is None or callable(value):  # so is Anymail's UNSET, a class
            continue
        if is_left_behind(message, name):  # by a package's class, which means something else
            continue
        raise PayloadError(
            f"the message's attribute {name!r} has no effect: is {_option_meant(name)!r} meant? "
            f"The options are {', '.join(OPTIONS)}; an attribute of your own needs another name, "
            "one of a package's class may be named in MAILQUEUE['LEAVE_BEHIND']"
        )


@lru_cache(maxsize=1024)
def _misnomers(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if not name.startswith("_") and _option_meant(name))


@lru_cache(maxsize=256)
def _of_class(kind: Any) -> tuple[str, ...]:
    """Those that a class has for all its messages, other than methods and the like."""
    found = {name: value for base in reversed(kind.__mro__) for name, value in vars(base).items()}
    return _misnomers(tuple(name for name, value in found.items() if not hasattr(value, "__get__")))


def _option_meant(name: str) -> str | None:
    """The option that a name comes close to; None if it is an option, or something else."""
    letters = name.lower().replace("_", "").replace("-", "")
    letters = letters.removeprefix("mailqueue") or letters  # as in mailqueue_id
    if name in OPTIONS or letters in _NO_MISNOMERS:
        return None
    if letters in _MEANT:
        return _MEANT[letters]
    return next((option for word, option in _LETTERS.items() if _is_slip(letters, word)), None)


def _is_slip(written: str, meant: str) -> bool:
    """Whether they are the same, but for one letter more, less or another, or two swapped."""
    if abs(len(written) - len(meant)) > 1:
        return False
    start = 0
    while written[start : start + 1] == meant[start : start + 1] != "":
        start += 1
    rest, right = written[start:], meant[start:]
    swapped = rest[1::-1] + rest[2:]
    return right in (rest, rest[1:], swapped) or rest[1:] == right[1:] or rest == right[1:]
