"""How the values of settings are written: durations, sizes, schedules, lists; all are checked."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

_SECONDS = {"": 1, "ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_BYTES = {"": 1, "b": 1, "kb": 1000, "mb": 1000**2, "kib": 1024, "mib": 1024**2, "gib": 1024**3}
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)")
_LONGEST_HOST = 255  # bytes (RFC 5321 4.5.3.1.2)
# Labels with dots between them; nothing but numbers would be an address.
_HOST = re.compile(r"(?![0-9.]+$)(?:[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?)?")
_MAX_DELAYS = 1000  # a typing error such as "1m*1000000" must not fill the memory


class EnvironmentText(str):
    """What a variable of the environment says: there a list can only be written with commas."""

    __slots__ = ()


class Secret(str):
    """A text that shows itself to nobody who only lists variables, as reports of errors do.

    It is written by its name: what is made of it, such as an f-string, is an ordinary text.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'" if self else "''"


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
    return _scale(value, _SECONDS, 'a duration such as "90s", "5m", "4h" or "7d"')


def parse_size(value: object) -> int:
    """Bytes from ``"25MiB"``, ``"64KiB"``, ``"1MB"`` or a number."""
    return int(_scale(value, _BYTES, 'a size such as "25MiB" or a number of bytes'))


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


def _scale(value: object, units: Mapping[str, float], wanted: str) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if not 0 <= value < float("inf"):
            raise ValueError(f"is not {wanted}")
        return float(value)
    found = _NUMBER.fullmatch(str(value).strip().lower())
    if found is None or found[2] not in units:
        raise ValueError(f"is not {wanted}")
    return float(found[1]) * units[found[2]]


def parse_text(value: object) -> str:
    """Return text, lazy text too."""
    # Lazily translated strings are wanted as text too. Bytes are always a mistake, and so is what
    # has no text but its repr(): None, a list.
    if isinstance(value, (bytes, bool, int)) or type(value).__str__ is object.__str__:
        raise ValueError("must be a string")
    return str(value)


def parse_secret(value: object) -> str:
    """Return text that is, or holds, a password."""
    return Secret(parse_text(value))


def parse_optional_text(value: object) -> str | None:
    """Return text; None for none, and for the empty one."""
    return None if value is None or value == "" else parse_text(value)


def parse_path(value: object) -> str | None:
    """Return a path as text; None for none."""
    return None if value is None or value == "" else os.fspath(Path(str(value)))


def parse_absolute_path(value: object) -> str | None:
    """Return a path that doesn't depend on the working directory, as text; None for none."""
    path = parse_path(value)
    if path is not None and not os.path.isabs(path):  # noqa: PTH117 - of a text
        raise ValueError("must be an absolute path, the same for programs and workers")
    return path


def parse_integer(value: object) -> int:
    """Return a whole number."""
    if isinstance(value, (bool, float)):
        raise ValueError("must be a whole number")
    return int(str(value))


def parse_positive(value: object) -> int:
    """Return a whole number above 0."""
    number = parse_integer(value)
    if number < 1:
        raise ValueError("must be 1 or more")
    return number


def parse_optional_seconds(value: object) -> float | None:
    """Read a duration; None for none."""
    seconds: float | None = None if value is None or value == "" else parse_duration(value)
    return seconds


def parse_seconds_above_zero(value: object) -> float:
    """Read a duration that isn't 0."""
    seconds = parse_duration(value)
    if not seconds:
        raise ValueError("must be more than 0 seconds")
    return seconds


def people_in(setting: str) -> Callable[[object], list[Any]]:
    """A list of addresses; from the environment, separated by commas."""

    def parse(value: object) -> list[Any]:
        if isinstance(value, EnvironmentText):
            return _split_list(value)
        if isinstance(value, (list, tuple)):
            return list(value)
        raise ValueError(f"The {setting} setting must be a list of email address strings.")

    return parse


def _split_list(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def parse_secrets(value: object) -> list[str]:
    """Read a list of keys, in the environment separated by commas; none of them is empty."""
    if value == "" and isinstance(value, EnvironmentText):
        return []
    keys = (_split_list(value) or [""]) if isinstance(value, str) else value
    if keys is None:
        return []
    if not isinstance(keys, (list, tuple)):
        raise ValueError("must be a list")
    if not all(isinstance(key, str) for key in keys):
        raise ValueError("must be a list of strings")
    if not all(key.strip() for key in keys):
        raise ValueError("has an empty key; no keys are written as []")
    return [Secret(key) for key in keys]


def parse_mailers(value: object) -> dict[str, Any]:
    """A dictionary of mailers; from the environment, as JSON."""
    return _parse_dictionary(value, "a dictionary of mailers by alias")


def parse_options(value: object) -> dict[str, Any]:
    """A dictionary of a function's keyword arguments; from the environment, as JSON."""
    found = _parse_dictionary(value, "a dictionary of keyword arguments")
    if not all(isinstance(key, str) for key in found):
        raise ValueError("must have keys that are strings")
    return found


def parse_leave_behind(value: object) -> dict[str, list[str]]:
    """Lists of attributes' names, by the path of a class or ``"*"``; from the environment, JSON."""
    found = _parse_dictionary(value, "a dictionary of attributes' names by their class")
    for path, names in found.items():
        if not isinstance(path, str) or (path != "*" and "." not in path):
            raise ValueError(f"{path!r} must be a class's path such as 'shop.mail.Invoice', or '*'")
        if not isinstance(names, (list, tuple)) or not all(isinstance(n, str) for n in names):
            raise ValueError(f"{path!r} must have a list of attributes' names")
    return {path: list(names) for path, names in found.items()}


def _parse_dictionary(value: object, wanted: str) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value or "{}")
        except ValueError:
            raise ValueError("is not JSON") from None
    if not isinstance(value, dict):
        raise ValueError(f"must be {wanted}")
    return value


def parse_oauth2(value: object) -> str | None:
    """Read the path of a token function; None for none."""
    path = parse_optional_text(value)
    if path is not None and not all(part.isidentifier() for part in _dotted(path)):
        raise ValueError("must be the path of a function, such as 'package.module.function'")
    return path


def _dotted(path: str) -> list[str]:
    return path.split(".") if "." in path else [""]


def one_of(*choices: str) -> Callable[[object], str]:
    """Read one of these words."""

    def parse(value: object) -> str:
        if value not in choices:
            raise ValueError("must be " + " or ".join(repr(choice) for choice in choices))
        return str(value)

    return parse


def parse_host(value: object) -> str:
    """Read a host's name, in any alphabet, or its address in brackets (RFC 5321 4.1.3)."""
    text = parse_text(value).strip()
    with suppress(UnicodeError):
        text = text if text.isascii() else text.encode("idna").decode("ascii")
    if len(text) > _LONGEST_HOST or not (_HOST.fullmatch(text) or _is_literal(text)):
        raise ValueError(
            'must be a name such as "mail.example.com", or an address in brackets: "[192.0.2.1]", '
            '"[IPv6:2001:db8::1]"'
        )
    return text


def _is_literal(text: str) -> bool:
    """Whether that is an IP address as mail writes it."""
    found = re.fullmatch(r"\[(IPv6:)?(.+)\]", text)
    try:
        return found is not None and bool((IPv6Address if found[1] else IPv4Address)(found[2]))
    except ValueError:
        return False


def parse_name(value: object) -> str:
    """Read the name of a queue."""
    text = parse_text(value)
    # The name becomes a part of Redis keys with a hash tag, and of AMQP queues.
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", text):
        raise ValueError("must be 1 to 100 letters, digits, '.', '_' or '-'")
    return text
