"""The short notations that settings are written in: durations, sizes, retry schedules, booleans."""

from __future__ import annotations

import re
from collections.abc import Mapping

_SECONDS = {"": 1, "ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_BYTES = {"": 1, "b": 1, "kb": 1000, "mb": 1000**2, "kib": 1024, "mib": 1024**2, "gib": 1024**3}
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)")
_MAX_DELAYS = 1000  # a typing error such as "1m*1000000" must not fill the memory


def parse_boolean(value: object) -> bool:
    """Read ``1 true yes on`` and ``0 false no off`` (any case), or a bool."""
    if isinstance(value, bool):
        return value
    match str(value).strip().lower():
        case "1" | "true" | "yes" | "on":
            return True
        case "0" | "false" | "no" | "off" | "":
            return False
    raise ValueError("is neither true nor false")


def parse_duration(value: object) -> float:
    """Seconds from ``"90s"``, ``"5m"``, ``"4h"``, ``"7d"``, ``"2w"``, ``"500ms"`` or a number."""
    return _scaled(value, _SECONDS, 'a duration such as "90s", "5m", "4h" or "7d"')


def parse_size(value: object) -> int:
    """Bytes from ``"25MiB"``, ``"64KiB"``, ``"1MB"`` or a number."""
    return int(_scaled(value, _BYTES, 'a size such as "25MiB" or a number of bytes'))


def parse_schedule(value: object) -> tuple[float, ...]:
    """Seconds to wait before each retry, from ``"1m, 5m, 15m, 1h*4, 4h*10"``."""
    if isinstance(value, (list, tuple)):
        return tuple(parse_duration(item) for item in value)
    delays: list[float] = []
    for term in str(value).split(","):
        if not term.strip():
            continue
        duration, _, times = term.partition("*")
        if times and not times.strip().isdecimal():
            raise ValueError(f"{term.strip()!r} is not of the form 1h*4")
        delays += [parse_duration(duration)] * min(int(times or 1), _MAX_DELAYS + 1)
        if len(delays) > _MAX_DELAYS:
            raise ValueError(f"has more than {_MAX_DELAYS} retries")
    return tuple(delays)


def _scaled(value: object, units: Mapping[str, float], wanted: str) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if not 0 <= value < float("inf"):
            raise ValueError(f"is not {wanted}")
        return float(value)
    found = _NUMBER.fullmatch(str(value).strip().lower())
    if found is None or found[2] not in units:
        raise ValueError(f"is not {wanted}")
    return float(found[1]) * units[found[2]]
