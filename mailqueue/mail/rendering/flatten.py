"""The bytes of a message object, whoever's class it is."""

from __future__ import annotations

import inspect
import re
from email.message import Message
from email.policy import EmailPolicy, Policy
from typing import Any

from .generator import generate

_LINE_END = re.compile(rb"\r\n|\r|\n")


def flatten(
    message: Any, *, linesep: str = "\n", seven_bit: bool = False, utf8: bool = False
) -> bytes:
    """The bytes of anybody's message object: ours, Django's, or one with ``message()`` its own."""
    changes: dict[str, Any] = {"linesep": linesep, "cte_type": "7bit" if seven_bit else "8bit"}
    policy: Policy[Any] = EmailPolicy(**changes, utf8=utf8)
    if "policy" in inspect.signature(message.message).parameters:
        built: Message[Any, Any] = message.message(policy=policy)
    else:
        built = message.message()
        policy = built.policy.clone(**changes)
    # A part that was made elsewhere may have other line ends than the policy's.
    return _LINE_END.sub(linesep.encode(), generate(built, policy))


def flatten_for_reading(message: Any) -> bytes:
    """The bytes of a message that no server gets; with raw UTF-8 only if it can't be sent else."""
    try:
        return flatten(message)
    except ValueError:
        return flatten(message, utf8=True)
