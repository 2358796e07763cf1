"""Writing a message of a simple shape without an object for each of its parts and fields.

``EmailMessage.message()`` says what a message looks like. Here the same bytes are put together from
what can be seen at a glance, and from pieces that Python's email package wrote once and that are
kept. Where a glance doesn't tell, ``message()`` decides: on every other shape, on every error.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from email.contentmanager import raw_data_manager
from email.message import EmailMessage as PythonMessage
from email.message import Message, MIMEPart
from email.policy import EmailPolicy, compat32, default
from functools import lru_cache, partial
from itertools import count
from typing import Any, NamedTuple, TypeAlias

from ..forwarded import is_in_lines
from ..header import check_part, fold_as_python, make_header, quick_policy
from ..part import attach_content
from ..text import alternative_arguments, base64_lines, content_arguments, text_or_binary
from .boundary import boundary, is_within
from .cache import SizedCache
from .fit import is_fit
from .generator import generate
from .shape import UTF8, Attachment, Family, Shape, Unusual, shape_of

_MAX_LINE = default.max_line_length or 0  # characters, without the line's end
# Bytes that are kept, since a newsletter has the same HTML and the same brochure in each message.
_TEXTS_LIMIT, _FILES_LIMIT = 8 * 1024**2, 48 * 1024**2
_WORTH_KEEPING = 32 * 1024  # bytes of a file; what is smaller takes 0.1 ms, and is seldom shared
_LONGEST_KEPT_FIELD = 1000  # characters
_ASCII_COMPATIBLE = UTF8 | {"us-ascii", "ascii", "iso-8859-1"}

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_QUOTED = r"[A-Za-z0-9&'()+,.:;@_-]+"
_PLAIN = rf"{_ATOM}(?:\.{_ATOM})*@[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*"
_NAMED = rf'(?:{_ATOM}(?: {_ATOM})*|"{_QUOTED}(?: {_QUOTED})*") <{_PLAIN}>'
_ADDRESSES = re.compile(rf"(?:{_PLAIN}|{_NAMED})(?:, (?:{_PLAIN}|{_NAMED}))*")
_WORDS = re.compile(r"[!-~]+(?: [!-~]+)*")
ALWAYS_ANEW = re.compile(r"(?!)")
# How a field looks that is written as it is, if it fits into a line. A date is written anew.
PATTERNS = {
    "from": _ADDRESSES,
    "to": _ADDRESSES,
    "cc": _ADDRESSES,
    "reply-to": _ADDRESSES,
    "message-id": re.compile(rf"<{_PLAIN}>"),
    "date": ALWAYS_ANEW,
}
_FILE_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 _.-]{0,30}[A-Za-z0-9])?")
# Texts that Python encodes so in nearly any charset; their parts' heads serve for all such texts.
_SAMPLES = {"quoted-printable": "x" * (_MAX_LINE + 1), "base64": "=" * (_MAX_LINE + 1)}
_ANY_NAME = "any.name"  # stands for such a name in the heads that are kept

# What is raised by what is unusual, and by Python on a header that it can't read or write.
NOT_SIMPLE = (ValueError, TypeError, LookupError, AttributeError)

_Policy: TypeAlias = "EmailPolicy[Any]"
_Build: TypeAlias = Callable[["_Kind", str | bytes], "Message[Any, Any]"]
_QUICK = quick_policy(default)


class _Part(NamedTuple):
    """A part of a message: its header fields, and the pieces of what stands below them."""

    head: bytes
    content: tuple[bytes, ...]
    is_base64: bool = False


class _Kind(NamedTuple):
    """What a part is, apart from its content."""

    build: _Build
    mimetype: str
    charset: str
    filename: str | None
    policy: _Policy


_encoded_texts: SizedCache[tuple[_Kind, str], _Part] = SizedCache(_TEXTS_LIMIT)
_encoded_files: SizedCache[tuple[Any, str | bytes], bytes] = SizedCache(_FILES_LIMIT)


class _Same:
    """A header object as a key: what it says doesn't tell how it is written, only itself does."""

    __slots__ = ("header",)

    def __init__(self, header: Any) -> None:
        self.header = header

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.header is other.header

    def __hash__(self) -> int:
        return id(self.header)


def write(message: Any, id_: str, *, seven_bit: bool = False, utf8: bool = False) -> bytes | None:
    """The bytes that ``message()`` leads to, with boundaries from ``id_``; None if it has to say.

    ``seven_bit`` and ``utf8`` are those of ``render.rendered_bytes``.
    """
    try:
        shape = shape_of(message)
        if shape.family is Family.OLD_DJANGO:
            return None
        return b"".join(_pieces(shape, id_, policy_for(seven_bit, utf8)))
    except NOT_SIMPLE:
        return None


@lru_cache(maxsize=4)
def policy_for(seven_bit: bool, utf8: bool) -> _Policy:
    """The policy by which messages are written for a server of that kind."""
    return default.clone(linesep="\r\n", cte_type="7bit" if seven_bit else "8bit", utf8=utf8)


# -- the whole


def _pieces(shape: Shape, id_: str, policy: _Policy) -> list[bytes]:
    fields = _fields(shape, policy)
    whole = _whole(shape, id_, policy)
    version = b"MIME-Version: 1.0\r\n"
    if shape.family is Family.DJANGO and not shape.has_body:
        version = b""  # Python sets it with a body only, and Django leaves it at that
    # What turns a body into a multipart moves the type behind the version.
    is_behind = shape.has_body and bool(shape.alternatives or shape.attachments)
    first = (version, whole.head) if is_behind else (whole.head, version)
    return [*first, fields, b"\r\n", *whole.content]


def _whole(shape: Shape, id_: str, policy: _Policy) -> _Part:
    versions = []
    if shape.has_body:
        kind = _Kind(_build_body, shape.mimetype, shape.charset, None, policy)
        versions.append(_part(kind, shape.body))
    for content, mimetype in shape.alternatives:
        kind = _Kind(_build_alternative, mimetype, shape.charset, None, policy)
        versions.append(_part(kind, content))
    if shape.alternatives:
        # Numbered as the parts are met: it is the first within what holds the attachments.
        number = 1 if shape.attachments else 0
        versions = [_multipart(shape.alternative, versions, id_, number)]
    if not shape.attachments:
        return versions[0]
    attachments = [_attachment(shape, given, policy) for given in shape.attachments]
    return _multipart(shape.mixed, [*versions, *attachments], id_, 0)


def _multipart(subtype: str, parts: list[_Part], id_: str, number: int) -> _Part:
    limit = _limit(parts, id_, number)
    pieces: list[bytes] = []
    between = f"\r\n--{limit}\r\n".encode()
    for part in parts:
        pieces += (between, part.head, b"\r\n", *part.content)
    pieces[0] = between[2:]
    pieces.append(f"\r\n--{limit}--\r\n".encode())
    head = f'Content-Type: multipart/{subtype}; boundary="{limit}"\r\n'
    return _Part(head.encode(), tuple(pieces))


def _limit(parts: list[_Part], id_: str, number: int) -> str:
    """The boundary between these parts, which no line in them begins with."""
    limit = boundary(id_, number)
    line = f"--{limit}".encode()
    texts = [piece for part in parts if not part.is_base64 for piece in part.content]
    if not any(line in piece for piece in texts):
        return limit
    others = map(partial(boundary, id_, number), count())
    return next(other for other in others if not any(is_within(other, piece) for piece in texts))


# -- header fields


def _fields(shape: Shape, policy: _Policy) -> bytes:
    names = {name.lower() for name, _ in shape.fields}
    if not {"date", "message-id"} <= names:
        raise Unusual("a Date or a Message-ID that is new each time")
    as_python = shape.family is Family.DJANGO
    lines = [_field(name, value, policy, as_python) for name, value in shape.fields]
    return "".join(lines).encode("utf-8" if policy.utf8 else "ascii")


def _field(name: str, value: str, policy: _Policy, as_python: bool) -> str:
    line = f"{name}: {value}\r\n"
    if len(line) <= _MAX_LINE + 2 and "=?" not in value:
        pattern = PATTERNS.get(name.lower(), _WORDS)
        if pattern.fullmatch(value):
            return line
    return fold_field(name, value, policy, as_python)


def fold_field(name: str, value: str, policy: _Policy, as_python: bool) -> str:
    """The field, folded; ``as_python`` refuses to mend what Python writes."""
    fold = _fold if len(value) <= _LONGEST_KEPT_FIELD else _fold.__wrapped__
    folded: str = fold(name, value, policy, as_python)
    return folded


@lru_cache(maxsize=2048)
def _fold(name: str, value: str, policy: _Policy, as_python: bool) -> str:
    """The field, as it has to be; ``as_python`` refuses to mend what Python writes."""
    folded: str = make_header(name, value, _QUICK).fold(policy=policy)
    if as_python and folded != fold_as_python(name, value, policy):
        raise Unusual("a field that Python doesn't write as it should")
    return folded


# -- parts


def _attachment(shape: Shape, given: Attachment, policy: _Policy) -> _Part:
    if isinstance(given, MIMEPart):
        return _write_part(given, policy)
    filename, content, mimetype = given
    content, mimetype = text_or_binary(content, mimetype)
    if isinstance(content, str) and not mimetype.startswith("text/"):
        content = content.encode()
    return _part(_Kind(_build_attachment, mimetype, shape.charset, filename, policy), content)


def _part(kind: _Kind, content: str | bytes) -> _Part:
    if isinstance(content, bytes):
        return _Part(_head(kind, b""), (_once(_base64, content),), is_base64=True)
    lines = _lines(content, kind)
    if lines is not None:
        return _Part(_head(kind, "" if content.isascii() else "\xe9"), (lines,))
    return _encoded_texts.get((kind, content), partial(_encode_text, kind, content), _weight)


def _weight(part: _Part) -> int:
    return 2 * sum(map(len, part.content))  # with the text itself, which is a little shorter


def _lines(text: str, kind: _Kind) -> bytes | None:
    """The text with CRLF, where it needs no encoding; else None."""
    is_ascii = text.isascii() and kind.charset in _ASCII_COMPATIBLE
    if "\0" in text or not (is_ascii or (kind.charset in UTF8 and kind.policy.cte_type == "8bit")):
        return None
    lines = text.encode().splitlines()
    if lines and max(map(len, lines)) > _MAX_LINE:
        return None
    lines.append(b"")
    return b"\r\n".join(lines) if len(lines) > 1 else b"\r\n"


def _encode_text(kind: _Kind, text: str) -> _Part:
    """A part with a text that must be encoded."""
    # The older policy leaves headers alone, whose parsing takes longer than encoding 4 kB.
    part = MIMEPart(policy=compat32)
    content, options = content_arguments(text, kind.mimetype, kind.charset, compat32)
    part.set_content(content, content_manager=raw_data_manager, **options)
    encoding: str = part["Content-Transfer-Encoding"]
    head = _head(kind, _SAMPLES.get(encoding, ""))
    if f"Content-Transfer-Encoding: {encoding}\r\n".encode() not in head:
        return _flat(kind, text)
    below: Any = part.get_payload()
    return _Part(head, (below.replace("\n", "\r\n").encode(),))


def _write_part(part: MIMEPart, policy: _Policy) -> _Part:
    """A part that came as one."""
    text: str = vars(part)["_payload"]  # get_payload() would decode what is 8 bit
    if not text.isascii() or "\r" in text:
        if not is_fit(part, policy):
            raise Unusual("a part that has to be encoded")
        return _flatten(part, policy)
    fields = [_part_field(name, value, policy) for name, value in part.raw_items()]
    return _Part(b"".join(fields), (_once(_with_crlf, text),))


def _part_field(name: str, value: Any, policy: _Policy) -> bytes:
    is_long = len(value) > _LONGEST_KEPT_FIELD
    write = _kept_part_field.__wrapped__ if is_long else _kept_part_field
    field: bytes = write(name, _Same(value), policy)
    return field


@lru_cache(maxsize=1024)
def _kept_part_field(name: str, value: _Same, policy: _Policy) -> bytes:
    part = MIMEPart()
    part.set_raw(name, value.header)
    return _flatten(part, policy).head


def _once(encode: Callable[[Any], bytes], content: str | bytes) -> bytes:
    """The content encoded; what is large is kept."""
    if len(content) < _WORTH_KEEPING:
        return encode(content)
    make = partial(encode, content)
    return _encoded_files.get((encode, content), make, lambda lines: len(lines) + len(content))


def _base64(content: bytes) -> bytes:
    return base64_lines(content, _MAX_LINE).replace(b"\n", b"\r\n")


def _with_crlf(text: str) -> bytes:
    if not is_in_lines(text.encode()):
        raise Unusual("a part that has to be encoded")
    return text.encode("ascii").replace(b"\n", b"\r\n")


def _head(kind: _Kind, sample: str | bytes) -> bytes:
    """The header fields of a part whose content needs as much encoding as the sample does."""
    filename = kind.filename
    if filename is None or not _FILE_NAME.fullmatch(filename):
        return _kept_head(kind, sample)
    head = _kept_head(kind._replace(filename=_ANY_NAME), sample)
    return head.replace(f'filename="{_ANY_NAME}"'.encode(), f'filename="{filename}"'.encode())


@lru_cache(maxsize=512)
def _kept_head(kind: _Kind, sample: str | bytes) -> bytes:
    return _flat(kind, sample).head


def _flat(kind: _Kind, content: str | bytes) -> _Part:
    """The part with that content as Python's email package writes it."""
    return _flatten(kind.build(kind, content), kind.policy)


def _flatten(part: Message[Any, Any], policy: _Policy) -> _Part:
    """A single part as Python's email package writes it, whatever the part's own policy."""
    check_part(part)
    head, end, below = generate(part, policy).partition(b"\r\n\r\n")
    if not end:
        raise Unusual("a part without headers")
    return _Part(head + b"\r\n", (below,))


def _build_body(kind: _Kind, content: str | bytes) -> Message[Any, Any]:
    part = MIMEPart(policy=_QUICK)
    content, options = content_arguments(content, kind.mimetype, kind.charset, _QUICK)
    part.set_content(content, **options)
    return part


def _build_alternative(kind: _Kind, content: str | bytes) -> Message[Any, Any]:
    whole = PythonMessage(policy=_QUICK)
    content, options = alternative_arguments(content, kind.mimetype, kind.charset, _QUICK)
    whole.add_alternative(content, **options)
    return next(whole.iter_parts())


def _build_attachment(kind: _Kind, content: str | bytes) -> Message[Any, Any]:
    whole = PythonMessage(policy=_QUICK)
    attach_content(whole, kind.filename, content, kind.mimetype, kind.charset)
    return next(whole.iter_parts())
