"""Token functions that EMAIL_OAUTH2 can name."""

from __future__ import annotations

from typing import Any

calls: list[dict[str, Any]] = []
tokens: list[str] = []  # what is returned next; the last stays


def token(*, alias: str | None, username: str) -> tuple[str, float]:
    """The next of the tokens, which lasts for an hour."""
    calls.append({"alias": alias, "username": username})
    return tokens.pop(0) if len(tokens) > 1 else tokens[0], 3600.0


def with_options(*, alias: str | None, username: str, key: str, region: str = "eu") -> Any:
    """A token that shows what it was called with."""
    calls.append({"alias": alias, "username": username, "key": key, "region": region})
    return f"token-for-{username}", 3600


def failing(*, alias: str | None, username: str, key: str = "") -> Any:
    """No token, and an error that says too much."""
    calls.append({})
    raise RuntimeError(f"the issuer didn't like\n{key!r} today")


def narrow(username: str) -> Any:
    """A function that was written without a look at the documentation."""
    return username, 1


def broad(**arguments: Any) -> Any:
    """A function that takes anything."""
    calls.append(arguments)
    return "abc", 60


not_callable = "text"
