"""Whose token it is, for people: issuer, application and end, and nothing that is secret."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from .issuers import MICROSOFT, google, microsoft
from .source import Source
from .token import Token


class _Identity(NamedTuple):
    issuer: str
    application: str


def identify(source: Source, token: Token) -> str:
    """Say by which issuer and application the token is, and until when it is good."""
    found = _claimed_by(token.text) or _configured_in(source)
    until = f"token until {token.until:%Y-%m-%d %H:%M:%S} UTC"
    if found is None:
        return f"token function {source.path}, {until}"
    return f"issuer {found.issuer}, application {found.application}, {until}"


def _claimed_by(text: str) -> _Identity | None:
    """What a token says of itself, where it is a JWT (RFC 9068 2.2, and Microsoft's names)."""
    with suppress(ValueError, AttributeError):
        part = text.split(".")[1:2][0] if text.count(".") == 2 else ""
        claims = json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        names = ("client_id", "appid", "azp")
        application = next((claims[name] for name in names if claims.get(name)), "not named")
        return _Identity(_line(claims["iss"]), _line(application)) if "iss" in claims else None
    return None


def _configured_in(source: Source) -> _Identity | None:
    """What the options of a ready-made function say that is no secret."""
    options = source.options
    if source.function is microsoft:
        authority = str(options.get("authority", MICROSOFT)).rstrip("/")
        return _Identity(f"{authority}/{_line(options['tenant'])}", _line(options["client_id"]))
    if source.function is google:
        account = _service_account(options["service_account"])
        return _Identity(
            _line(account.get("token_uri", "")), _line(account.get("client_email", ""))
        )
    return None


def _service_account(given: str | Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(given, str):
        return given
    found: Mapping[str, Any] = json.loads(Path(given).read_text("utf-8"))
    return found


def _line(value: object) -> str:
    """A value as one line of printable text."""
    return "".join(c for c in str(value) if c.isprintable())
