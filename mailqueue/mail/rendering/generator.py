"""What all ways of writing a message share: Python's generator, and the formula for boundaries."""

from __future__ import annotations

import hashlib
from email.generator import BytesGenerator
from email.message import Message
from email.policy import Policy
from io import BytesIO
from typing import Any


def generate(message: Message[Any, Any], policy: Policy[Any]) -> bytes:
    """The message's bytes by that policy, as Python's email package writes them."""
    buffer = BytesIO()
    # mangle_from_ would turn "From " at the start of a line into ">From ": that is for mbox files.
    BytesGenerator(buffer, mangle_from_=False, policy=policy).flatten(message)
    return buffer.getvalue()


def boundary(id_: str, number: int) -> str:
    """The boundary of a message's multipart, by its place among the parts: the same each time."""
    return f"=_{hashlib.sha256(id_.encode()).hexdigest()[:24]}_{number}"
