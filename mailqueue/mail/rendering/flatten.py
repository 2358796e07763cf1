"""The bytes of a message object, whoever's class it is."""

from __future__ import annotations

from email.policy import EmailPolicy
from typing import Any

from .writing import build, write_built


def flatten(
    message: Any, *, linesep: str = "\n", seven_bit: bool = False, utf8: bool = False
) -> bytes:
    """The bytes of anybody's message object: ours, Django's, or one with ``message()`` its own."""
    policy: EmailPolicy[Any] = EmailPolicy(
        linesep=linesep, cte_type="7bit" if seven_bit else "8bit", utf8=utf8
    )
    built = build(message, policy)
    return write_built(built, linesep=linesep, seven_bit=seven_bit, utf8=utf8)


def flatten_for_reading(message: Any) -> bytes:
    """The bytes of a message that no server gets; with raw UTF-8 only if it can't be sent else."""
    try:
        return flatten(message)
    except ValueError:
        return flatten(message, utf8=True)
