"""A payload as text: its format version, compressed where that is worth while."""

from __future__ import annotations

import hashlib
import zlib
from base64 import b64decode, b64encode
from typing import Any

from mailqueue.errors import PayloadError

from .. import quickjson

VERSION = 2
_READABLE = (1, VERSION)  # 1 has Message-ID and Date among the headers
_WORTH_COMPRESSING = 2048  # characters
# How a payload begins that isn't sealed, and where it says that it is compressed.
_PLAIN_START, _ZLIB_WITHIN = '{"v":', 80
_INFLATED_LIMIT = 1024**3  # bytes; a few kilobytes can be made to inflate to more than any memory


def parse(text: str) -> dict[str, Any]:
    """Return a payload's fields, decompressed. Raises PayloadError for another version."""
    found = quickjson.loads(text)
    if not isinstance(found, dict):
        raise PayloadError(f"the payload is a JSON {type(found).__name__}, not an object")
    if found.get("v") not in _READABLE:
        raise PayloadError(
            f"the payload has the format version {found.get('v')!r}; "
            f"this version of mailqueue reads {' and '.join(map(str, _READABLE))}"
        )
    if "zlib" not in found:
        return found
    inflater = zlib.decompressobj()
    inflated = inflater.decompress(b64decode(found["zlib"]), _INFLATED_LIMIT)
    if not inflater.eof:
        raise PayloadError("the payload is compressed and truncated, or larger than any message")
    inner: dict[str, Any] = quickjson.loads(inflated.decode())
    return inner


def compress(text: str, id_: str) -> str:
    """The payload compressed, where that saves at least a third."""
    if len(text) < _WORTH_COMPRESSING:
        return text
    plain = text.encode("utf-8")
    packed = b64encode(zlib.compress(plain, 1)).decode("ascii")
    if len(packed) > len(plain) * 2 / 3:
        return text
    return quickjson.dumps({"v": VERSION, "id": id_, "zlib": packed})


def is_packed(text: str) -> bool:
    """Whether a payload is compressed, or sealed, so that it can't be made much smaller."""
    return not text.startswith(_PLAIN_START) or '"zlib":' in text[:_ZLIB_WITHIN]


def digest(text: str) -> str:
    """Return the payload's SHA-256, by which a worker knows that a task brought the right one."""
    return hashlib.sha256(text.encode()).hexdigest()
