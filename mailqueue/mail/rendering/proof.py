"""Proof, while the caller can still be told, that a message can be written for any server."""

from __future__ import annotations

import re
from email.message import MIMEPart
from email.policy import EmailPolicy
from typing import Any

from mailqueue.errors import locate

from ..forwarded import LONGEST_LINE, is_in_lines
from ..header import check_part
from .fit import WRITING_ERRORS
from .render import rendered_bytes
from .shape import UTF8, Attachment, Family, Shape, Unusual, shape_of
from .simple import NOT_SIMPLE, PATTERNS, fold_field, policy_for

_LONG_LINE = re.compile(rb"^[^\r\n]{%d,}" % (LONGEST_LINE + 1), re.MULTILINE)
_PRINTABLE = re.compile("[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]*")
_SOUND_NAME = re.compile(r"[\w .,()-]*")
_SURELY_IN_LINES = 900  # characters of a field, each of which is a line of its own at worst
_SHOWN = 60  # bytes of a line, in an error


def is_sound(message: Any, *, utf8: bool = False) -> bool:
    """Whether it is certain that the message can be written for any server; False may be either.

    ``utf8`` is that of ``render.rendered_bytes``.
    """
    try:
        _refuse_unsound(shape_of(message), policy_for(False, utf8))
    except NOT_SIMPLE:
        return False
    return True


def _refuse_unsound(shape: Shape, policy: EmailPolicy[Any]) -> None:
    if shape.charset.lower() not in UTF8:
        raise Unusual("a charset that may lack a letter")
    for name, value in shape.fields:
        if not _is_sound_field(name, value, shape.family, policy):
            raise Unusual("a header that Python may be unable to read")
    for given in shape.attachments:
        if not _is_sound_attachment(given, shape.family):
            raise Unusual("an attachment that Python or Django may refuse")
    _refuse_surrogates(shape.body)
    for text, _ in shape.alternatives:
        _refuse_surrogates(text)


def _is_sound_field(name: str, value: str, family: Family, policy: EmailPolicy[Any]) -> bool:
    pattern = PATTERNS.get(name.lower(), _PRINTABLE)
    is_short = len(name) + len(value) < _SURELY_IN_LINES
    if is_short and pattern.fullmatch(value) and "=?" not in value:
        return True
    if family is not Family.OURS:
        return False
    # Python's parser may fail on it, or find a line's end that an encoded word hides.
    folded = fold_field(name, value, policy, False)
    is_encoded = folded.isascii() or policy.utf8
    return is_encoded and is_in_lines(folded.encode())


def _is_sound_attachment(given: Attachment, family: Family) -> bool:
    if isinstance(given, MIMEPart):
        check_part(given)
        return given.get_payload() is not None  # it fails where 8 bit and text are mixed
    filename, content, mimetype = given
    if filename is not None and not _SOUND_NAME.fullmatch(filename):
        return False
    if family is not Family.OURS and isinstance(content, str) != mimetype.startswith("text/"):
        return False
    if isinstance(content, str):
        _refuse_surrogates(content)
    return True


def _refuse_surrogates(text: str) -> None:
    """Raise UnicodeEncodeError for half a character."""
    if not text.isascii():
        text.encode()


def refuse_unwritable(message: Any, id_: str, *, utf8: bool) -> None:
    """Raise ValueError or TypeError if a worker couldn't write the message for a server.

    ``utf8`` is that of ``render.rendered_bytes``.
    """
    for seven_bit in (False, True):
        try:
            data = rendered_bytes(message, id_, seven_bit=seven_bit, utf8=utf8)
        except WRITING_ERRORS as error:
            if isinstance(error, UnicodeEncodeError) and "(in " not in error.reason:
                raise locate(error, "a text of the message") from None
            if isinstance(error, ValueError | TypeError):
                raise
            raise ValueError(
                f"the message can't be built: {type(error).__name__}: {error}"
            ) from error
        _refuse_long_lines(data)


def _refuse_long_lines(data: bytes) -> None:
    """Raise ValueError for a line that no server takes; it is a header's, contents have none."""
    found = _LONG_LINE.search(data)
    if found:
        start = found[0][:_SHOWN].decode("ascii", "replace")
        raise ValueError(
            f"a header needs a line of {len(found[0])} bytes, and a server takes {LONGEST_LINE} "
            f"(RFC 5322, 2.1.1): {start!r}…"
        )
