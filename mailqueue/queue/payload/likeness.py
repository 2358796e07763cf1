"""What a message says, apart from what is new each time that it is serialized."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Collection, Iterable, Iterator, Mapping
from email import message_from_bytes, policy
from email.message import Message
from typing import Any, NamedTuple

from .. import quickjson

# A signature covers what is new each time, and says when it was made.
_SIGNATURES = {"dkim-signature", "arc-seal", "arc-message-signature"}


class Said(NamedTuple):
    """What a message says, for this process to compare; ``fresh`` are headers to be left out.

    ``set_by`` stands for what the application has set on a message that its class renders: that
    tells whether it is the same where the class renders it with something new each time. It is 0
    where not all of it is known.
    """

    hashed: int
    mime: str = ""
    fresh: Collection[str] = ()
    set_by: int = 0

    @property
    def likeness(self) -> int:
        """The same number for messages that would be the same mail, and for no others."""
        if not self.mime:
            return self.hashed
        return hash((self.hashed, *_lasting(b64decode(self.mime), self.fresh)))


def said_in(text: str, fresh: Iterable[str]) -> Said:
    """What a payload says, but for those values in it."""
    for value in fresh:
        text = text.replace(value, "", 1)
    return Said(hash(text))


def said_in_mime(fields: Mapping[str, Any], fresh: Collection[str], set_by: int) -> Said:
    """What the fields of a rendered message say, but for the headers of those names."""
    others = {name: value for name, value in fields.items() if name != "mime"}
    return Said(hash(quickjson.dumps(others)), fields["mime"], fresh, set_by)


def _lasting(mime: bytes, fresh: Collection[str]) -> Iterator[Any]:
    """What a rendered message says without its boundaries, which are random."""
    whole = message_from_bytes(mime, policy=policy.compat32)
    for name in {*map(str.lower, whole.keys())} & {*fresh, *_SIGNATURES}:
        del whole[name]
    for part in whole.walk():
        yield tuple(_header(part, *header) for header in part.raw_items())
        if part.is_multipart():
            yield part.preamble, part.epilogue, len(part.get_payload())
        else:
            yield part.get_payload()


def _header(part: Message[Any, Any], name: str, value: Any) -> tuple[str, str]:
    text = str(value)
    boundary = part.get_boundary() if name.lower() == "content-type" else None
    return name, text.replace(boundary, "") if boundary else text
