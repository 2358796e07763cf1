"""Large attachments apart from their messages: stored once by SHA-256, however many carry them."""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from mailqueue.errors import PayloadError
from mailqueue.mail.rendering.cache import SizedCache

_CACHE_LIMIT = 64 * 1024**2  # characters; a worker meets the same brochure again and again


def sha256(content: str) -> str:
    """The name under which a content is stored."""
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()


class BlobCollector:
    """Collects what is too large for a payload, for the journal to store.

    Bytes or text that many messages attach are encoded and hashed once; what may change between
    two messages, such as a MIME part, is for each. ``used`` are those of the message at hand, by
    name; ``contents`` those of all messages.
    """

    def __init__(self, threshold: int) -> None:
        self.contents: dict[str, str] = {}
        self.used: dict[str, str] = {}
        self.threshold = threshold
        self._known: dict[int, tuple[bytes | str, str]] = {}  # held, so that no id is given twice

    def put(self, original: object, encode: Callable[[], str]) -> str:
        """Take a content, encoded if it is not known yet; return its name."""
        known, name = self._known.get(id(original), (None, ""))
        if known is not original:
            content = encode()
            name = sha256(content)
            self.contents[name] = content
            if type(original) is bytes or type(original) is str:
                self._known[id(original)] = original, name
        self.used[name] = self.contents[name]
        return name

    @property
    def size(self) -> int:
        """How many characters have been collected."""
        return sum(map(len, self.contents.values()))


class _Form(NamedTuple):
    """What a stored text may stand for."""

    decode: Callable[[str], Any]
    encode: Callable[[Any], str]


_TEXT = _Form(str, str)
_BASE64 = _Form(b64decode, lambda data: b64encode(data).decode("ascii"))
_JSON = _Form(json.loads, json.dumps)


class Blob:
    """A content as it is stored: text, which may be bytes in base64, or JSON; decoded once."""

    def __init__(self, text: str) -> None:
        # In one form only: who wants the bytes never wants the text, which takes more room.
        self._kept: tuple[_Form, Any] = _TEXT, text

    @property
    def text(self) -> str:
        """The content as text."""
        form, value = self._kept
        return form.encode(value)

    @property
    def data(self) -> bytes:
        """The bytes that the text stands for: the same object each time."""
        data: bytes = self._decode(_BASE64)
        return data

    @property
    def json(self) -> Any:
        """What the text says as JSON: the same object each time, for nobody to change."""
        return self._decode(_JSON)

    def _decode(self, form: _Form) -> Any:
        kept = self._kept  # once, since another thread may replace it
        if kept[0] is not form:
            kept = self._kept = form, form.decode(kept[0].encode(kept[1]))
        return kept[1]


class BlobCache:
    """The contents that a worker used last; ``fetch`` gets the others, None for what is gone."""

    def __init__(self, limit: int = _CACHE_LIMIT) -> None:
        self._kept: SizedCache[str, tuple[Blob, int]] = SizedCache(limit)

    def get(self, name: str, fetch: Callable[[str], str | None]) -> Blob:
        """Return a content. Raises PayloadError where it is gone or damaged."""
        blob, _ = self._kept.get(name, partial(_fetch, name, fetch), lambda fetched: fetched[1])
        return blob


def _fetch(name: str, fetch: Callable[[str], str | None]) -> tuple[Blob, int]:
    """A content and its length."""
    content = fetch(name)
    if content is None:
        raise PayloadError(f"the attachment with the SHA-256 {name} is gone from the journal")
    if sha256(content) != name:
        raise PayloadError(f"the attachment with the SHA-256 {name} is damaged in the journal")
    return Blob(content), len(content)
