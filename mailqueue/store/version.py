"""The oldest Redis that the store runs on; what says so anywhere asks here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

OLDEST_REDIS = (7, 0)  # what the tests run on; Valkey began as Redis 7.2, and says so of itself


def problem_of_version(server: Mapping[str, Any]) -> str | None:
    """What is wrong with a server's version, by its ``INFO``; None where it doesn't say."""
    said = str(server.get("redis_version", ""))
    found = tuple(map(int, re.findall(r"\d+", said)[:2]))
    if not found or found >= OLDEST_REDIS:
        return None
    oldest = ".".join(map(str, OLDEST_REDIS))
    return (
        f"the journal's server is Redis {said}, which is too old: install {oldest} or later, or "
        "any Valkey"
    )
