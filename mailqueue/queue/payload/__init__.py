"""A message as JSON."""

from .codec import digest, dumps, is_packed, loads, parse, summary

__all__ = ["digest", "dumps", "is_packed", "loads", "parse", "summary"]
