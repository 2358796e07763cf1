"""MIME parts in JSON: what they hold, not what they print.

Printing and parsing again would change a part: a header that was set in code is folded anew with
every printing, one that was parsed is kept as it came. So headers, payload and policy are carried
as they are.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from email import policy as policies
from email.message import EmailMessage, Message, MIMEPart
from email.mime.base import MIMEBase
from functools import lru_cache
from typing import Any

from mailqueue.mail.forwarded import AsItCame

_POLICY_OPTIONS = (
    "linesep", "max_line_length", "cte_type", "mangle_from_", "utf8", "refold_source",
)  # fmt: skip
_LONGEST_KEPT_FIELD = 1000  # characters


class _LegacyPart(MIMEBase):
    """A MIMEBase without the headers that its own constructor wants to set."""

    def __init__(self, policy: Any) -> None:
        Message.__init__(self, policy=policy)


_CLASSES: Mapping[str, Any] = {
    "EmailMessage": EmailMessage,
    "MIMEPart": MIMEPart,
    "MIMEBase": _LegacyPart,
    "AsItCame": AsItCame,
}


def dump_part(part: Message) -> dict[str, Any]:
    """Turn a part, with the parts inside it, into what JSON can carry."""
    return {
        "class": next(name for name, class_ in _KINDS.items() if isinstance(part, class_)),
        "policy": _dump_policy(part.policy),
        "headers": [_dump_header(name, value) for name, value in part.raw_items()],
        "payload": _dump_payload(part),
        "preamble": part.preamble,
        "epilogue": part.epilogue,
        "type": part.get_default_type(),
    }


def load_part(found: Mapping[str, Any]) -> Message:
    """Turn what ``dump_part`` made into a part."""
    part: Message = _CLASSES[found["class"]](policy=_load_policy(found["policy"]))
    for name, value, is_source in found["headers"]:
        part.set_raw(*((name, value) if is_source else _header(name, value, part.policy)))
    part._payload = _load_payload(found["payload"])  # type: ignore[attr-defined]
    part.preamble, part.epilogue = found["preamble"], found["epilogue"]
    part.set_default_type(found["type"])
    return part


# From the special to the general; everything legacy is a Message.
_KINDS = {
    "AsItCame": AsItCame,
    "EmailMessage": EmailMessage,
    "MIMEPart": MIMEPart,
    "MIMEBase": Message,
}


def _dump_header(name: str, value: Any) -> list[Any]:
    # Only the header objects of modern policies have a name; the others are text as it is printed.
    return [name, str(value), not hasattr(value, "name")]


def _dump_payload(part: Message) -> Any:
    # get_payload() would decode what came as 8-bit; this is what gets printed.
    payload = part._payload  # type: ignore[attr-defined]
    if isinstance(payload, list):
        return [dump_part(inner) for inner in payload]
    if isinstance(payload, bytes):
        return {"base64": b64encode(payload).decode("ascii")}
    return payload


def _load_payload(found: Any) -> Any:
    if isinstance(found, list):
        return [load_part(inner) for inner in found]
    return b64decode(found["base64"]) if isinstance(found, dict) else found


def _dump_policy(policy: Any) -> dict[str, Any]:
    base = policies.default if isinstance(policy, policies.EmailPolicy) else policies.compat32
    changed = {
        name: getattr(policy, name)
        for name in _POLICY_OPTIONS
        if hasattr(base, name) and getattr(policy, name) != getattr(base, name)
    }
    return {"base": "default" if base is policies.default else "compat32"} | changed


def _load_policy(found: Mapping[str, Any]) -> Any:
    return _policy(found["base"], tuple((n, found[n]) for n in _POLICY_OPTIONS if n in found))


@lru_cache(maxsize=64)
def _policy(base: str, changed: tuple[tuple[str, Any], ...]) -> Any:
    policy: Any = policies.default if base == "default" else policies.compat32
    return policy.clone(**dict(changed))


def _header(name: str, value: str, policy: Any) -> tuple[str, Any]:
    """The name with a header object, which nobody can change: parts of many messages share it."""
    make = _kept_header if len(value) <= _LONGEST_KEPT_FIELD else _kept_header.__wrapped__
    header: tuple[str, Any] = make(name, value, policy)
    return header


@lru_cache(maxsize=512)
def _kept_header(name: str, value: str, policy: Any) -> tuple[str, Any]:
    stored: tuple[str, Any] = policy.header_store_parse(name, value)
    return stored
