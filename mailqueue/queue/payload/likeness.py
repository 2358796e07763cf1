"""What a message says, as a digest: it is the same for two that would be the same mail."""

from __future__ import annotations

import hashlib
from base64 import b64decode
from collections.abc import Collection, Iterator, Mapping
from email import message_from_bytes, policy
from email.message import Message
from typing import Any

from .. import quickjson

_BYTES = 16  # enough that two different messages never have the same digest
# They are made anew whenever a message is serialized, unless its application has set them.
_MADE_ANEW = ("message-id", "date")
# A signature covers what is made anew, and says when it was made.
_SIGNATURES = ("dkim-signature", "arc-seal", "arc-message-signature")


def likeness(fields: Mapping[str, Any], given: Collection[str]) -> bytes:
    """The digest of a payload's fields without what is new each time.

    ``given`` are the names of the headers that the application has set, in lower case.
    """
    said = {name: value for name, value in fields.items() if name != "added"}
    fresh = [name for name in _MADE_ANEW if name not in given]
    if "headers" in said:
        headers: Mapping[str, Any] = said["headers"]
        said["headers"] = {n: value for n, value in headers.items() if n.lower() not in fresh}
    if "mime" in said:
        said["mime"] = list(_lasting(b64decode(said["mime"]), fresh))
    text = quickjson.dumps(said)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_BYTES).digest()


def _lasting(mime: bytes, fresh: Collection[str]) -> Iterator[Any]:
    """What a rendered message says without boundaries, which are random, and without ``fresh``."""
    whole = message_from_bytes(mime, policy=policy.compat32)
    left_out = {*fresh, *_SIGNATURES}
    for name in {*map(str.lower, whole.keys())} & left_out:
        del whole[name]
    for part in whole.walk():
        yield [_header(part, *header) for header in part.raw_items()]
        if not part.is_multipart():
            yield part.get_payload()
            continue
        yield [part.preamble, part.epilogue, len(part.get_payload())]


def _header(part: Message[Any, Any], name: str, value: Any) -> list[str]:
    text = str(value)
    boundary = part.get_boundary() if name.lower() == "content-type" else None
    return [name, text.replace(boundary, "") if boundary else text]
