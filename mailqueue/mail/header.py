"""Header fields that survive folding: Python's own, checked, and mended where they go wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable
from email.errors import HeaderParseError
from email.header import Header, decode_header
from email.header import make_header as join_decoded
from email.headerregistry import (
    Address,
    AddressHeader,
    BaseHeader,
    DateHeader,
    Group,
    HeaderRegistry,
    UnstructuredHeader,
)
from email.message import Message
from email.policy import EmailPolicy, Policy, default
from email.utils import format_datetime, getaddresses
from functools import lru_cache
from numbers import Number
from typing import Any

from mailqueue.errors import BadHeaderError, locate

from .address import addr_spec, ascii_domain, quote_odd_dots, refuse_line_ends

_NAME = re.compile(r"[!-9;-~]+")  # RFC 5322, 2.2: printable US-ASCII except the colon
_ATEXT_WORDS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_FOLD = re.compile(r"(?:\r\n|\r|\n)(?=[ \t])")
_SURROGATES = re.compile("[\ud800-\udfff]")
_NO_TEXT: Any = object.__str__  # which gives the repr()
_MAX_LINE = 998  # RFC 5322, 2.1.1, without the line's end
# Where RFC 2047 (section 5) allows an encoded word for any text. In any other field that Python
# has no grammar for, the reader need not decode it.
_TEXT_FIELDS = {"subject", "comments", "content-description"}


class SafeHeader(BaseHeader):
    """What every header of ours is: a header of Python's whose folding is checked.

    Python's folding loses the quotes around a long name, so that ``"Doe, Jane" <jane@…>`` turns
    into two addresses (CPython issues 80222 and 121284, security fixes of 3.12.9 and others),
    loses or adds spaces between encoded words (92081), and writes a long ``List-Unsubscribe`` URL
    or JSON value as encoded words, which no reader decodes there (85725). A field that reads back
    as it was written is left as Python folded it.
    """

    def fold(self, *, policy: Policy[Any]) -> str:
        """Return the field with its name, folded, ending with the policy's line separator."""
        header: Any = self
        if _is_addresses(header) and not getattr(policy, "utf8", False):
            _refuse_non_ascii_local_parts(header)
        folded = self._fold_by_python(policy)
        body = folded.removesuffix(policy.linesep)
        if policy.linesep not in body and "=?" not in body and len(body) <= _MAX_LINE:
            return folded
        if _is_addresses(header):
            return folded if _reads_back(header, body, policy) else _fold_addresses(header, policy)
        if isinstance(header, UnstructuredHeader):
            return self._check_text(folded, body, policy)
        return folded

    def _fold_by_python(self, policy: Policy[Any]) -> str:
        try:
            folded: str = super().fold(policy=policy)
        except (IndexError, AttributeError, TypeError) as error:
            raise ValueError(f"{self.name} can't be written: {str(self)!r}") from error
        return folded

    def _check_text(self, folded: str, body: str, policy: Policy[Any]) -> str:
        if self.name.lower() not in _TEXT_FIELDS and str(self).isascii() and "=?" not in self:
            plain = _fold_words(f"{self.name}: {self}", policy)
            if plain is not None:
                return plain
        if _reads_back(self, body, policy) or getattr(policy, "utf8", False):
            return folded
        limit = policy.max_line_length or _MAX_LINE
        header = Header(str(self), "utf-8", maxlinelen=limit, header_name=self.name)
        return f"{self.name}: {header.encode(linesep=policy.linesep)}{policy.linesep}"


class _SafeRegistry(HeaderRegistry):
    """Python's registry of header classes, over SafeHeader; a class is made once, not each time."""

    def __init__(self) -> None:
        super().__init__(base_class=SafeHeader)
        self._classes: dict[type, Any] = {}

    def __getitem__(self, name: str) -> Any:
        kind = self.registry.get(name.lower(), self.default_class)
        if kind not in self._classes:
            self._classes[kind] = super().__getitem__(name)
        return self._classes[kind]


_registry = _SafeRegistry()
_OURS: EmailPolicy[Any] = EmailPolicy(header_factory=_registry)


def quick_policy(policy: EmailPolicy[Any]) -> EmailPolicy[Any]:
    """The policy with our registry, if it has just Python's, which makes a class a header."""
    return _with_our_registry(policy) if is_pythons(policy.header_factory) else policy


@lru_cache(maxsize=16)
def _with_our_registry(policy: EmailPolicy[Any]) -> EmailPolicy[Any]:
    return policy.clone(header_factory=_registry)


def is_pythons(factory: Any) -> bool:
    """Whether it makes the headers that Python makes, and no others."""
    return type(factory) is HeaderRegistry and factory.registry == _registry.registry


def make_header(name: str, value: Any, policy: EmailPolicy[Any]) -> Any:
    """Make the header; BadHeaderError for newlines, ValueError for what can't be a header.

    Raises TypeError for a value that has no text but its ``repr()``.
    """
    _refuse_bad_name(name)
    given = value
    if not hasattr(value, "utctimetuple"):  # a date is formatted by its header
        value = _as_text(value, name)
        refuse_line_ends(value, name)
    header = _parse(name, value, policy)
    if isinstance(header, DateHeader) and getattr(header, "datetime", None) is None:
        # Python would write the name without a value.
        raise ValueError(f"{name} must be a datetime or a date of RFC 5322, not {given!r:.100}")
    # An encoded word may hide a newline that folding would write out (CVE-2024-6923).
    refuse_line_ends(str(header), name)
    if _is_addresses(header) and not policy.utf8 and not str(header).isascii():
        return _with_ascii_domains(header, policy)
    return header


def fold_as_python(name: str, value: str, policy: EmailPolicy[Any]) -> str:
    """The field as Python's email package writes it, and Django."""
    try:
        folded: str = default.header_factory(name, value).fold(policy=policy)
    except TypeError:
        # Before 3.13 it can't read a local part that begins with a dot.
        folded = default.header_factory(name, _readable(name, value)).fold(policy=policy)
    return folded


def header_text(name: str, value: Any) -> str:
    """The text that ``make_header`` makes of a value. Raises TypeError where it has none."""
    if hasattr(value, "utctimetuple"):
        return format_datetime(value)
    return _as_text(value, name)


def check_part(part: Message[Any, Any]) -> None:
    """Raise BadHeaderError if a header of a part has a line's end in its name or its value."""
    for name, value in part.items():
        _refuse_bad_name(name)
        refuse_hidden_line_ends(name, value)


def needs_encoding(value: Any) -> bool:
    """Whether a part by the older policy holds a value that the newer one can't write."""
    if isinstance(value, Header):
        return True
    # Surrogates stand for bytes that were read, and are written as those.
    return isinstance(value, str) and not value.isascii() and not _SURROGATES.search(value)


def encode_value(name: str, value: Any) -> str:
    """The value in ASCII, folded, as the newer policy writes it (RFC 2047, and 2231 for names)."""
    if isinstance(value, Header):
        return value.encode()
    try:
        folded: str = make_header(name, _FOLD.sub("", value), _OURS).fold(policy=_OURS)
    except UnicodeEncodeError as error:
        raise locate(error, f"the header {name!r:.100}") from None
    return folded.partition(":")[2].strip()


def refuse_hidden_line_ends(name: str, value: Any) -> None:
    """Raise BadHeaderError if the value, or a parameter of it, holds a line's end when decoded.

    Python decodes encoded words (CVE-2024-6923) and the percent signs of RFC 2231, and some of its
    releases write out what they find.
    """
    if not isinstance(value, BaseHeader):  # of a part by the older policy: as it was set, folds too
        plain = _FOLD.sub("", str(value))
        refuse_line_ends(plain, name)
        value = _parse(name, plain, _OURS)
    for text in (str(value), *getattr(value, "params", {}).values()):
        refuse_line_ends(text, name)


def _refuse_bad_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise BadHeaderError(f"Header names may only have printable ASCII characters, not {name!r}")


def _is_addresses(header: Any) -> bool:
    return isinstance(header, AddressHeader)


def _as_text(value: Any, name: str) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(text for item in value if (text := _as_text(item, name)))
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _decode_bytes(bytes(value), name)
    if type(value).__str__ is _NO_TEXT and not isinstance(value, Number | None):
        raise TypeError(f"{name} must be text, not {value!r:.100}")
    text = "" if value is None else str(value)
    if not text.isascii():
        try:
            text.encode()  # a lone surrogate can't be sent; better said here than in the worker
        except UnicodeEncodeError as error:
            raise locate(error, f"the header {name!r:.100}") from None
    return text


def _decode_bytes(value: bytes, name: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} must be text or UTF-8, not {value!r:.100}") from error


def _parse(name: str, value: Any, policy: EmailPolicy[Any]) -> Any:
    # Somebody's own factory is theirs to answer for.
    factory = _registry if is_pythons(policy.header_factory) else policy.header_factory
    try:
        return factory(name, _readable(name, value))
    except Exception as error:
        # The parser fails with IndexError, AttributeError, … on inputs such as "To: ann@".
        raise ValueError(f"{name} can't be read: {value!r}") from error


def _readable(name: str, value: Any) -> Any:
    """The value as Python's parser, and others, can read it."""
    is_list = isinstance(value, str) and issubclass(_registry[name], AddressHeader)
    return quote_odd_dots(value) if is_list else value


def _with_ascii_domains(header: Any, policy: EmailPolicy[Any]) -> Any:
    if all(address.domain.isascii() for address in header.addresses):
        return header
    groups = [
        Group(group.display_name, tuple(_ascii_address(address) for address in group.addresses))
        for group in header.groups
    ]
    return _parse(header.name, ", ".join(str(group) for group in groups), policy)


def _ascii_address(address: Address) -> Address:
    return Address(address.display_name, address.username, ascii_domain(address.domain))


def _refuse_non_ascii_local_parts(header: Any) -> None:
    for address in header.addresses:
        if not address.username.isascii():
            # Python would write an encoded word here, which RFC 2047 (section 5) forbids.
            raise ValueError(
                f"Invalid address {address.addr_spec!r}: local-part contains non-ASCII characters; "
                "a policy with utf8=True writes it, for servers with SMTPUTF8"
            )


def _reads_back(header: Any, folded: str, policy: Policy[Any]) -> bool:
    """Whether a reader would find in the folded field what the header says."""
    # Read with the older parser: the newer one puts a space between adjacent encoded words (92081),
    # and so finds right what it has itself written wrong.
    value = folded.partition(":")[2].replace(policy.linesep, "").removeprefix(" ")
    if max(map(len, folded.split(policy.linesep))) > _MAX_LINE:
        return False  # some server on the way cuts it, or refuses it
    try:
        return _reads_as(header, value)
    except (ValueError, LookupError, HeaderParseError):
        return False


def _reads_as(header: Any, value: str) -> bool:
    if not _is_addresses(header):
        return _decode(value) == str(header)
    # An encoded word within quotes is one for Python, but not for RFC 2047 (section 5).
    encoded_in_quotes = any("=?" in quoted for quoted in _QUOTED.findall(value))
    if encoded_in_quotes or any(group.display_name is not None for group in header.groups):
        return False
    read = [(_decode(name), address) for name, address in getaddresses([value])]
    return read == [(a.display_name, addr_spec(a)) for a in header.addresses]


def _decode(value: str) -> str:
    return str(join_decoded(decode_header(value)))


def _fold_addresses(header: Any, policy: Policy[Any]) -> str:
    """Fold with our own hands: between addresses and words, never within quotes."""
    words: list[str] = []
    for number, group in enumerate(header.groups):
        if number:
            words[-1] += ","
        words += _group_words(group, policy)
    return _pack(f"{header.name}:", (f" {word}" for word in words), policy)


def _group_words(group: Group, policy: Policy[Any]) -> list[str]:
    words: list[str] = []
    for number, address in enumerate(group.addresses):
        if number:
            words[-1] += ","
        words += _address_words(address, policy)
    if group.display_name is None:
        return words
    name = _phrase_words(group.display_name, policy)
    name[-1] += ":"
    return [*name, *words[:-1], (words[-1] if words else "") + ";"]


def _address_words(address: Address, policy: Policy[Any]) -> list[str]:
    if not address.display_name:
        return [addr_spec(address)]
    return [*_phrase_words(address.display_name, policy), f"<{addr_spec(address)}>"]


def _phrase_words(name: str, policy: Policy[Any]) -> list[str]:
    quoted = '"' + name.replace("\\", r"\\").replace('"', r"\"") + '"'
    if not (name.isascii() or getattr(policy, "utf8", False)) or len(quoted) > _MAX_LINE - 10:
        encoded = Header(name, "utf-8", maxlinelen=75, header_name="").encode(linesep="\n")
        return encoded.split("\n ")
    return name.split(" ") if _ATEXT_WORDS.fullmatch(name) and "  " not in name else [quoted]


def _fold_words(field: str, policy: Policy[Any]) -> str | None:
    """Fold at the spaces that are there; None if a word is too long for any line."""
    name, _, value = field.partition(":")
    words = re.findall(r"[ \t]*[^ \t]+|[ \t]+$", value)
    if any(len(word) + len(name) >= _MAX_LINE for word in words):
        return None
    return _pack(f"{name}:", words, policy)


def _pack(line: str, words: Iterable[str], policy: Policy[Any]) -> str:
    limit = policy.max_line_length or _MAX_LINE
    lines = []
    for number, word in enumerate(words):
        # The first word stays: a first line with nothing but the name is read wrongly by some.
        if number and word.strip() and len(line) + len(word) > limit:
            lines.append(line)
            line = ""
        line += word
    return policy.linesep.join([*lines, line]) + policy.linesep
