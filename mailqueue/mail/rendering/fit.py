"""Have each part of a message that was built be one that a server takes."""

from __future__ import annotations

from contextlib import suppress
from copy import copy
from email import message_from_bytes
from email.errors import MessageError
from email.message import Message
from email.policy import EmailPolicy, Policy, compat32
from typing import Any, TypeAlias

from ..forwarded import LONGEST_LINE, AsItCame, is_in_lines, put_base64, put_bytes, put_source
from ..header import encode_value
from ..part import MAX_DEPTH
from .boundary import write_whole
from .generator import LINE_END

_IDENTITY = {"", "7bit", "8bit", "binary"}  # encodings that encode nothing (RFC 2045 6.2)
_DECODABLE = {"base64", "quoted-printable", "x-uuencode", "uuencode", "uue", "x-uue"}
_WRITTEN_IN_BLOCKS = "message/delivery-status"  # Python's generator takes it in no other form
# What Python's email package raises on what it can't write.
WRITING_ERRORS = (
    ValueError, TypeError, LookupError, AttributeError, RecursionError, MessageError,
)  # fmt: skip

_Message: TypeAlias = "Message[Any, Any]"
_Policy: TypeAlias = "Policy[Any]"


def own_copy(part: Any, depth: int = 0) -> _Message:
    """A copy whose headers and parts may be changed; the contents themselves are shared.

    Raises TypeError for a part that is none, and ValueError for parts nested too deep.
    """
    if not isinstance(part, Message):
        raise TypeError(f"a part of a message must be an email.message.MIMEPart, not {part!r:.100}")
    if depth > MAX_DEPTH:
        raise ValueError(f"the parts of a message may be nested {MAX_DEPTH} deep, not deeper")
    own: Any = copy(part)
    own._headers = list(own._headers)
    for name in ("_payload", "preamble", "epilogue"):
        text = getattr(own, name)
        if isinstance(text, str) and not text.isascii():
            setattr(own, name, _bytes_in_text(part, text))
    if own._payload is None and own.get_content_maintype() == "multipart":
        own._payload = []
    if isinstance(own._payload, list):
        own._payload = [own_copy(inner, depth + 1) for inner in own._payload]
    return own  # type: ignore[no-any-return] # it is of the part's class


def fit(part: _Message, policy: _Policy, id_: str | None, *, signed: bool = False) -> None:
    """Change the part, and those within, as far as a server can't take them as they are.

    The policy says what it takes: ``cte_type`` "7bit" is a server without 8BITMIME. What is signed
    is changed only where it couldn't be sent at all.
    """
    if isinstance(part, AsItCame):
        return
    _fold_long_headers(part)
    payload: Any = part._payload  # type: ignore[attr-defined] # get_payload() would decode it
    kind = part.get_content_maintype()
    if not isinstance(payload, list):
        _fit_leaf(part, policy, signed=signed)
        return
    if part.get_content_subtype() == "signed":
        # Python folds no header within it anew.
        signed, policy = True, policy.clone(max_line_length=0)
    if part.get_content_type() != _WRITTEN_IN_BLOCKS:  # which are no parts
        for inner in payload:
            fit(inner, policy, id_, signed=signed)
    _fit_surroundings(part, policy)
    if kind == "message":
        _fit_message(part, policy, id_)


def _fit_surroundings(part: _Message, policy: _Policy) -> None:
    """Leave away what stands around parts, which no reader shows, where a server can't take it."""
    for name in ("preamble", "epilogue"):
        text = (getattr(part, name) or "").encode("ascii", "surrogateescape")
        if not is_in_lines(text.replace(b"\r", b"\n"), seven_bit=_is_seven_bit(policy)):
            setattr(part, name, None)


def _fit_message(part: _Message, policy: _Policy, id_: str | None) -> None:
    """Have a part with a message in it hold that message's bytes, which are final then."""
    data = _content(part, policy, id_)
    if not is_in_lines(data, seven_bit=_is_seven_bit(policy)):
        put_bytes(part, data)
        return
    put_source(part, data)
    if _is_seven_bit(policy) and "Content-Transfer-Encoding" in part:
        part.replace_header("Content-Transfer-Encoding", "7bit")


def _content(part: _Message, policy: _Policy, id_: str | None) -> bytes:
    """What stands below the headers of a part."""
    within: Any = part.get_payload()
    if within and all(isinstance(inner, AsItCame) for inner in within):
        return b"".join(map(_source, within))
    data = _write_anyhow(part, policy, id_)
    data = LINE_END.sub(b"\n", data)
    return data[1:] if data.startswith(b"\n") else data.partition(b"\n\n")[2]


def _write_anyhow(part: _Message, policy: _Policy, id_: str | None) -> bytes:
    """Write a part with a message in it, by an older policy where the newer can't.

    What came in may have headers that only the older one writes, and eight bits that neither can
    encode; these stay then.
    """
    options: dict[str, Any] = {"linesep": policy.linesep, "max_line_length": policy.max_line_length}
    older: _Policy = compat32.clone(cte_type=policy.cte_type, **options)
    for each in (policy, older):
        with suppress(*WRITING_ERRORS):
            return write_whole(part, each, id_)
    return write_whole(part, compat32.clone(**options), id_)


def is_fit(part: _Message, policy: _Policy, *, signed: bool = False) -> bool:
    """Whether a server takes a part that holds no others, and the reader finds what is in it."""
    data, encoding = _source(part), _encoding(part)
    is_encoded = encoding not in _IDENTITY
    if signed or is_encoded or part.get_content_maintype() == "text":
        # Their line ends may become others, and what is signed is not ours to judge.
        lines = data.replace(b"\r", b"\n").replace(b"\0", b"" if signed else b"\0")
    else:
        lines = data
    if is_in_lines(lines, seven_bit=_is_seven_bit(policy)):
        return True
    return not is_encoded and _is_encoded_by_python(part, data, policy)


def _fit_leaf(part: _Message, policy: _Policy, *, signed: bool) -> None:
    """Encode the content of a part that holds no others, where it has to be."""
    if part.get_content_maintype() in ("message", "multipart"):
        _fit_claim(part, policy)
    elif not is_fit(part, policy, signed=signed):
        put_base64(part, _decoded(part))


def _fit_claim(part: _Message, policy: _Policy) -> None:
    """A part that says that it has parts, or a message, and has text."""
    data = _source(part)
    is_in_blocks = part.get_content_type() == _WRITTEN_IN_BLOCKS
    is_encoded = _encoding(part) not in _IDENTITY
    if is_encoded and (is_in_blocks or not is_in_lines(data, seven_bit=True)):
        data = _decoded(part)
        del part["Content-Transfer-Encoding"]
    # Of these two Python's generator takes no bytes that aren't ASCII.
    is_message = part.get_content_maintype() == "message"
    if not is_in_lines(data, seven_bit=_is_seven_bit(policy) or not is_message):
        put_bytes(part, data)
    elif is_in_blocks or not data.isascii():
        put_source(part, data)


def _encoding(part: _Message) -> str:
    return str(part.get("Content-Transfer-Encoding", "")).strip().lower()


def _bytes_in_text(part: _Message, text: str) -> str:
    """The text as Python's generators want it: with what isn't ASCII as the bytes that it is.

    A part that was parsed from text has the text's characters instead. In the part's charset they
    are the bytes that a reader expects.
    """
    with suppress(UnicodeEncodeError):
        text.encode("ascii", "surrogateescape")
        return text
    data = None
    with suppress(UnicodeEncodeError, LookupError):
        data = text.encode(_charset(part), "surrogateescape")
    if data is None:
        data = text.encode("utf-8", "surrogateescape")
    return data.decode("ascii", "surrogateescape")


def _source(part: _Message) -> bytes:
    """The content of a part as it would be written. Raises TypeError for a part that has none."""
    payload: Any = part._payload  # type: ignore[attr-defined]
    if not isinstance(payload, str | None):
        raise TypeError(
            f"{_name(part)}: the payload of a part must be text or a list of parts, "
            f"not {payload!r:.100}"
        )
    return (payload or "").encode("ascii", "surrogateescape")


def _name(part: _Message) -> str:
    return str(part.get_filename() or part.get_content_type())


def _decoded(part: _Message) -> bytes:
    """The bytes that the part stands for. Raises ValueError where nobody can tell."""
    encoding = _encoding(part)
    if encoding in _IDENTITY:
        return _source(part)
    if encoding not in _DECODABLE:
        raise ValueError(
            f"{_name(part)}: a content in the encoding {encoding!r:.100} can't be written in "
            "another one, and no server takes it as it is"
        )
    data: bytes = part.get_payload(decode=True) or b""  # type: ignore[assignment] # no parts
    return data


def _is_encoded_by_python(part: _Message, data: bytes, policy: _Policy) -> bool:
    """Whether Python's generator encodes the text for seven bits, and a reader finds the same.

    It doesn't know each charset, and replaces bytes that the charset doesn't have.
    """
    if type(part).set_payload is not Message.set_payload or not is_in_lines(data):
        return False
    try:
        written = write_whole(part, policy, None)
        read = message_from_bytes(written)
        found, wanted = read.get_payload(decode=True), data.decode(_charset(part))
        same: bool = found.decode(_charset(read)).splitlines() == wanted.splitlines()  # type: ignore[union-attr]
    except WRITING_ERRORS:
        return False
    return same and is_in_lines(written, seven_bit=True)


def _charset(part: _Message) -> str:
    return str(part.get_param("charset"))


def _fold_long_headers(part: _Message) -> None:
    """Encode each header of the older policy that would be a line too long for any server."""
    if isinstance(part.policy, EmailPolicy):
        return
    headers: list[tuple[str, Any]] = part._headers  # type: ignore[attr-defined]
    for number, (name, value) in enumerate(headers):
        if _is_long(name, str(value)):
            with suppress(ValueError):  # one that can't be read stays as it is
                headers[number] = name, encode_value(name, str(value))


def _is_long(name: str, value: str) -> bool:
    if len(value) + len(name) + 2 <= LONGEST_LINE:
        return False
    return max(map(len, value.split())) + len(name) + 2 > LONGEST_LINE


def _is_seven_bit(policy: _Policy) -> bool:
    return policy.cte_type == "7bit"
