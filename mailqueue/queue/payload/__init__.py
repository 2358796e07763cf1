"""A message as JSON."""

from .codec import digest, is_packed, parse
from .dump import dump, dumps, summary
from .load import loads

__all__ = ["digest", "dump", "dumps", "is_packed", "loads", "parse", "summary"]
