"""A message as JSON."""

from .codec import digest, is_packed, parse
from .dump import dumps, serialize, summary
from .load import loads

__all__ = ["digest", "dumps", "is_packed", "loads", "parse", "serialize", "summary"]
