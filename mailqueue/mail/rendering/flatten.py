"""The bytes of a message object, whoever's class it is."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from email.encoders import encode_base64
from email.message import Message
from email.policy import EmailPolicy, Policy
from typing import Any

from .generator import generate

_IDENTITY = {"7bit", "8bit", "binary"}  # encodings that encode nothing (RFC 2045 6.2)
_LINE_END = re.compile(rb"\r\n|\r|\n")


def flatten(
    message: Any, *, linesep: str = "\n", seven_bit: bool = False, utf8: bool = False
) -> bytes:
    """The bytes of anybody's message object: ours, Django's, or one with ``message()`` its own."""
    changes: dict[str, Any] = {"linesep": linesep, "cte_type": "7bit" if seven_bit else "8bit"}
    asked: EmailPolicy[Any] = EmailPolicy(**changes, utf8=utf8)
    takes_policy = "policy" in inspect.signature(message.message).parameters
    built: Message[Any, Any] = message.message(**({"policy": asked} if takes_policy else {}))
    # Its own, since whoever signs what is built has forbidden to fold it anew.
    policy: Policy[Any] = built.policy.clone(**changes)
    if isinstance(policy, EmailPolicy):
        policy = policy.clone(utf8=utf8)
    encode_unfit(built, seven_bit=seven_bit)
    # A part that was made elsewhere may have other line ends than the policy's.
    return _LINE_END.sub(linesep.encode(), generate(built, policy))


def encode_unfit(built: Message[Any, Any], *, seven_bit: bool) -> None:
    """Encode each part that a server can't take: with a NUL or, for ``seven_bit``, in eight bits.

    Django before 6.0 writes a NUL as it is (RFC 5322 2.2 allows none). Of the parts in eight bits
    Python's generator has those encode themselves that it can, unless they are of Django's class.
    What is signed, or forwarded, stays as it is.
    """
    for part in _leaves(built):
        text, encoding = part.get_payload(), str(part.get("Content-Transfer-Encoding", "7bit"))
        if not isinstance(text, str) or encoding.lower() not in _IDENTITY:
            continue
        by_itself = type(part).set_payload is Message.set_payload and part.get_param("charset")
        if "\0" in text or (seven_bit and not text.isascii() and not by_itself):
            del part["Content-Transfer-Encoding"]
            encode_base64(part)


def _leaves(part: Message[Any, Any]) -> Iterator[Message[Any, Any]]:
    """The parts that have no parts, but nothing of what is signed or forwarded."""
    if part.get_content_maintype() == "message" or part.get_content_subtype() == "signed":
        return
    if not part.is_multipart():
        yield part
        return
    for inner in part.get_payload():
        yield from _leaves(inner)  # type: ignore[arg-type] # parts are Messages


def flatten_for_reading(message: Any) -> bytes:
    """The bytes of a message that no server gets; with raw UTF-8 only if it can't be sent else."""
    try:
        return flatten(message)
    except ValueError:
        return flatten(message, utf8=True)
