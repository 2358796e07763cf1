"""A message as JSON."""

from .codec import digest, is_packed, parse
from .dump import dump, dumps, summary
from .likeness import likeness
from .load import loads

__all__ = ["digest", "dump", "dumps", "is_packed", "likeness", "loads", "parse", "summary"]
