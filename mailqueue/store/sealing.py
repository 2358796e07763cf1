"""Encryption at rest: what lies in broker and journal, when ``SECRET_KEYS`` are set.

A sealed text is ``sealed:<key id>:<Fernet token>``. The key id, a part of the key's SHA-256, tells
a text that was sealed with a key that isn't here from one that was tampered with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from importlib import import_module
from typing import Any

from mailqueue.conf import settings
from mailqueue.errors import ImproperlyConfigured, PayloadError

_PREFIX = "sealed:"
_ELSEWHERE = "(sealed with a key that is not here)"
_DAMAGED = "(unreadable)"
_HOW_TO_MAKE_ONE = (
    'python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'
)


class KeyMissing(ImproperlyConfigured):
    """A text was sealed with a key that is not among ``SECRET_KEYS``."""


class Sealer:
    """Seals with the first of the keys, opens with all of them; without keys it changes nothing."""

    def __init__(self, keys: Sequence[str] = ()) -> None:
        self._ciphers = {_key_id(key): _cipher(key) for key in keys}

    def seal(self, text: str) -> str:
        """Encrypt a text, if there is a key."""
        for key_id, cipher in self._ciphers.items():
            token = cipher.encrypt(text.encode("utf-8", "surrogatepass")).decode("ascii")
            return f"{_PREFIX}{key_id}:{token}"
        return text

    def open(self, text: str) -> str:
        """Decrypt a text; one that isn't sealed is returned as it is.

        Raises KeyMissing where its key isn't here, PayloadError where it was tampered with.
        """
        if not text.startswith(_PREFIX):
            return text
        key_id, _, token = text.removeprefix(_PREFIX).partition(":")
        if key_id not in self._ciphers:
            raise KeyMissing(
                f"this is sealed with the key {key_id!r}, which is not among "
                "MAILQUEUE['SECRET_KEYS']: add it there, behind the others"
            )
        try:
            opened: bytes = self._ciphers[key_id].decrypt(token.encode())
        except _fernet().InvalidToken as error:
            raise PayloadError(
                "what was sealed has been changed since: it can't be read"
            ) from error
        return opened.decode("utf-8", "surrogatepass")

    def readable(self, text: str) -> str:
        """Decrypt a text to be shown; where that fails, return what is wrong, to be shown instead.

        What somebody with other keys has noted must not hide all the rest.
        """
        try:
            return self.open(text)
        except (KeyMissing, PayloadError, ValueError) as error:
            return instead_of(error)


def instead_of(error: Exception) -> str:
    """What is shown in place of a text that can't be read."""
    return _ELSEWHERE if isinstance(error, KeyMissing) else _DAMAGED


@lru_cache(maxsize=8)
def sealer_for(keys: tuple[str, ...]) -> Sealer:
    """Return the sealer for these keys."""
    return Sealer(keys)


def current_sealer() -> Sealer:
    """Return the sealer of the settings."""
    return sealer_for(tuple(settings.MAILQUEUE.SECRET_KEYS))


def _cipher(key: str) -> Any:
    try:
        return _fernet().Fernet(key)
    except ValueError:
        # Without the cause, which might show a part of the key.
        raise ImproperlyConfigured(
            "MAILQUEUE['SECRET_KEYS'] has a key that is not 32 bytes in URL-safe base64; make one "
            f"by: {_HOW_TO_MAKE_ONE}"
        ) from None


def _key_id(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:8]


def _fernet() -> Any:
    try:
        return import_module("cryptography.fernet")
    except ImportError as error:
        raise ImproperlyConfigured(
            "MAILQUEUE['SECRET_KEYS'] needs cryptography: pip install \"mailqueue[crypto]\""
        ) from error
