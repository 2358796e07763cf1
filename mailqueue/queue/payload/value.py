"""Attribute values in JSON: what JSON knows, and dates, times, decimals and tuples besides.

What JSON doesn't know becomes an object with one key that begins with ``$``, such as
``{"$date": "2026-11-21"}``. An object of the application's own with such a key is wrapped in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from mailqueue.mail.text import is_lazy_text

_LOADERS: Mapping[str, Callable[[Any], Any]] = {
    "$datetime": datetime.fromisoformat,
    "$date": date.fromisoformat,
    "$time": time.fromisoformat,
    "$seconds": lambda seconds: timedelta(seconds=seconds),
    "$decimal": Decimal,
    "$tuple": lambda items: tuple(from_json(item) for item in items),
    "$object": lambda found: {name: from_json(value) for name, value in found.items()},
}


def to_json(value: Any) -> Any:
    """Turn a value into what JSON can carry. Raises TypeError for what can't be carried."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case datetime():
            return {"$datetime": value.isoformat()}
        case date():
            return {"$date": value.isoformat()}
        case time():
            return {"$time": value.isoformat()}
        case timedelta():
            return {"$seconds": value.total_seconds()}
        case Decimal():
            return {"$decimal": str(value)}
        case tuple():
            return {"$tuple": [to_json(item) for item in value]}
        case list():
            return [to_json(item) for item in value]
        case dict():
            return _object_to_json(value)
    if is_lazy_text(value):
        return str(value)
    raise TypeError(f"a value of type {type(value).__name__} has no form in JSON")


def from_json(found: Any) -> Any:
    """Turn what ``to_json`` made into the value that it was."""
    if isinstance(found, list):
        return [from_json(item) for item in found]
    if not isinstance(found, dict):
        return found
    if len(found) == 1:
        ((name, value),) = found.items()
        if name in _LOADERS:
            return _LOADERS[name](value)
    return {name: from_json(value) for name, value in found.items()}


def _object_to_json(value: dict[Any, Any]) -> dict[str, Any]:
    for name in value:
        # JSON would turn 1 into "1", and nobody would notice before the mail is wrong.
        if not isinstance(name, str):
            raise TypeError(f"an object's key must be a string, not {name!r}")
    found = {name: to_json(item) for name, item in value.items()}
    return {"$object": found} if any(name in _LOADERS for name in found) else found
