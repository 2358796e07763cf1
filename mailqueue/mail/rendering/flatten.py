"""The bytes of a message object, whoever's class it is."""

from __future__ import annotations

import inspect
import re
from email.encoders import encode_base64
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
    if seven_bit:
        encode_unfit(built, seven_bit=True)
    # A part that was made elsewhere may have other line ends than the policy's.
    return _LINE_END.sub(linesep.encode(), generate(built, policy))


def encode_unfit(built: Message, *, seven_bit: bool) -> None:
    """Encode each part that a server can't take: with a NUL or, for ``seven_bit``, in eight bits.

    Django before 6.0 writes a NUL as it is (RFC 5322 2.2 allows none). The generator has a part in
    eight bits encode itself by ``set_payload``. That Django's own stays in eight bits, and then
    the generator raises UnicodeEncodeError.
    """
    for part in built.walk():
        text, encoding = part.get_payload(), part.get("Content-Transfer-Encoding", "7bit").lower()
        if not isinstance(text, str) or encoding not in {"7bit", "8bit"}:
            continue
        is_stubborn = type(part).set_payload is not Message.set_payload
        if "\0" in text or (seven_bit and encoding == "8bit" and is_stubborn):
            del part["Content-Transfer-Encoding"]
            encode_base64(part)


def flatten_for_reading(message: Any) -> bytes:
    """The bytes of a message that no server gets; with raw UTF-8 only if it can't be sent else."""
    try:
        return flatten(message)
    except ValueError:
        return flatten(message, utf8=True)
