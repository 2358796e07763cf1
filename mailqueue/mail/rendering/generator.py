"""Python's generator, as all ways of writing a message use it."""

from __future__ import annotations

import re
from email.generator import BytesGenerator
from email.message import Message
from email.policy import Policy
from io import BytesIO
from typing import Any

LINE_END = re.compile(rb"\r\n|\r|\n")


def generate(message: Message[Any, Any], policy: Policy[Any]) -> bytes:
    """The message's bytes by that policy, as Python's email package writes them."""
    buffer = BytesIO()
    # mangle_from_ would turn "From " at the start of a line into ">From ": that is for mbox files.
    BytesGenerator(buffer, mangle_from_=False, policy=policy).flatten(message)
    return buffer.getvalue()
