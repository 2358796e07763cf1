"""What a glance tells of a message: whether it is of a simple shape, as nearly all mail is.

Simple means: a class that is known and not changed, texts that are texts, types and names without
surprises. What isn't simple is not wrong; only ``message()`` can tell.
"""

from __future__ import annotations

import re
import sys
from email.headerregistry import BaseHeader, HeaderRegistry
from email.message import MIMEPart
from email.policy import EmailPolicy
from enum import Enum
from functools import lru_cache
from inspect import getattr_static
from types import FunctionType
from typing import Any, NamedTuple, TypeAlias

from mailqueue.conf import settings

from ..address import refuse_line_ends
from ..header import is_pythons
from ..message import ADDRESS_LISTS, EmailMessage, EmailMultiAlternatives
from ..text import is_lazy_text

UTF8 = {"utf-8", "utf8"}
Attachment: TypeAlias = tuple[str | None, str | bytes, str] | MIMEPart  # name, content, type

_TOKEN = r"[A-Za-z0-9][A-Za-z0-9.+-]*"  # noqa: S105 - RFC 2045's word, no secret
_SUBTYPE = re.compile(_TOKEN)
_SINGLE = ("text", "application", "image", "audio", "video", "font")  # not of parts of their own
_MIMETYPE = re.compile(rf"(?:{'|'.join(_SINGLE)})/{_TOKEN}(?:; ?[A-Za-z0-9-]+=[A-Za-z0-9._-]+)*")
_OF_PARTS = vars(MIMEPart()).keys()
_LONGEST_NAMES = 2000  # characters, of a file's name and its type
_FIELD_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
# Another multipart may have rules of its own, as "signed" has.
_MULTIPARTS = {"mixed", "alternative", "related"}
_OF_ATTRIBUTES = {"from": "From", "to": "To", "cc": "Cc", "reply-to": "Reply-To"}
# Methods that have done their work when a message is sent, or do it where it is sent from.
_HARMLESS = {
    "__init__", "send", "get_connection", "connection", "attach", "attach_file",
    "attach_alternative",
}  # fmt: skip
_HOMES = {EmailMessage.__module__, "django.core.mail.message"}
# Python has a grammar for these, or they stand in a message once: extra headers are others.
_SPECIAL = {*HeaderRegistry().registry, "content-id"} - {"date", "message-id", *_OF_ATTRIBUTES}


class Unusual(ValueError):
    """The message is of no shape that is known here."""


class Family(Enum):
    """Whose class a message is of: it decides what its bytes are."""

    OURS = 1
    DJANGO = 2  # its bytes are ours since 6.1, where Python's header folding does no harm
    OLD_DJANGO = 3


class Shape(NamedTuple):
    """A message of a simple shape."""

    family: Family
    fields: list[tuple[str, str]]
    body: str
    mimetype: str
    alternatives: list[tuple[str, str]]  # content, type
    attachments: list[Attachment]
    charset: str
    mixed: str  # the subtype of the multipart that holds attachments
    alternative: str  # and of the one that holds the versions of the body

    @property
    def has_body(self) -> bool:
        """Whether there is a part for the body; otherwise the others stand for it."""
        return bool(self.body) or not (self.alternatives or self.attachments)


def shape_of(message: Any) -> Shape:
    """Look at a message. Raises Unusual, or another ValueError or TypeError, if it isn't simple."""
    kind: Any = type(message)
    family = _family(kind)
    if not is_built_as_usual(message):
        raise Unusual("somebody has put another message() in its place")
    shape = Shape(
        family,
        _fields(message, family),
        _text(message.body or ""),
        f"text/{_subtype(message.content_subtype)}",
        [_alternative(*given) for given in getattr(message, "alternatives", None) or ()],
        [_attachment(given) for given in message.attachments or ()],
        _text(message.encoding or settings.DEFAULT_CHARSET),
        getattr(message, "mixed_subtype", "mixed"),
        getattr(message, "alternative_subtype", "alternative"),
    )
    _refuse_unusual(shape, message)
    return shape


def is_built_as_usual(message: Any) -> bool:
    """Whether a ``message()`` of ours or of Django's builds it, and nobody has replaced that."""
    kind: Any = type(message)
    is_ours = builder_of(kind) is not None and kind.message.__module__ in _HOMES
    return is_ours and "message" not in vars(message)


@lru_cache(maxsize=256)
def builder_of(kind: Any) -> type[Any] | None:
    """The class of ours or of Django's that builds the messages of this class; None: it itself."""
    base = base_of(kind)
    return None if base is None or _replaces_building(kind, base) else base


@lru_cache(maxsize=256)
def base_of(kind: Any) -> type[Any] | None:
    """The class of ours or of Django's that this one is or derives from; None: neither."""
    return next((base for base in base_classes() if issubclass(kind, base)), None)


def base_classes() -> list[type[Any]]:
    """The classes of messages that a worker rebuilds, the special before the general."""
    # Not imported: who has a message of Django's has its module too.
    mail: Any = sys.modules.get("django.core.mail")
    django = [mail.EmailMultiAlternatives, mail.EmailMessage] if mail else []
    return [*django, EmailMultiAlternatives, EmailMessage]


def _replaces_building(kind: type[Any], base: type[Any]) -> bool:
    names = [name for name in dir(base) if name not in _HARMLESS]
    static = ((name, getattr_static(base, name)) for name in names)
    building = [name for name, value in static if isinstance(value, FunctionType | property)]
    return any(getattr(kind, name) is not getattr(base, name) for name in building)


@lru_cache(maxsize=256)
def _family(kind: Any) -> Family:
    base = builder_of(kind)
    if base is None:
        raise Unusual(f"the class {kind.__qualname__} may do things its own way")
    if base in (EmailMultiAlternatives, EmailMessage):
        return Family.OURS
    version: tuple[int, ...] = sys.modules["django"].VERSION
    return Family.DJANGO if version >= (6, 1) else Family.OLD_DJANGO


def _refuse_unusual(shape: Shape, message: Any) -> None:
    if shape.mixed not in _MULTIPARTS or shape.alternative not in _MULTIPARTS - {"mixed"}:
        raise Unusual("a multipart of a kind of its own")
    if shape.family is Family.OLD_DJANGO and MIMEPart in map(type, shape.attachments):
        raise Unusual("a part, which Django 5.2 refuses")
    if shape.family is Family.OURS:
        return
    if shape.charset not in UTF8:
        raise Unusual("a charset that Django may write in another way")
    if shape.family is Family.DJANGO and (
        hasattr(message, "mixed_subtype") or hasattr(message, "alternative_subtype")
    ):
        raise Unusual("attributes that this Django refuses")
    texts = [shape.body, *(content for content, _ in shape.alternatives)]
    texts += [
        given[1]
        for given in shape.attachments
        if isinstance(given, tuple) and isinstance(given[1], str)
    ]
    if any("\0" in text for text in texts):
        raise Unusual("Django writes NUL as it is")


def _text(value: Any) -> str:
    if type(value) is str:
        return value
    # Of a subclass too: what a template renders is one, and its str() is what gets written.
    if not (isinstance(value, str) or is_lazy_text(value)):
        raise Unusual("a value that isn't text")
    return str(value)


def _subtype(value: Any) -> str:
    text = _text(value)
    if not _SUBTYPE.fullmatch(text):
        raise Unusual("a subtype with more to it")
    return text


def _mimetype(value: Any) -> str:
    text = _text(value)
    if not _MIMETYPE.fullmatch(text):
        raise Unusual("a type with more to it")
    return text


def _alternative(content: Any, mimetype: Any) -> tuple[str, str]:
    checked = _mimetype(mimetype)
    if not checked.startswith("text/"):
        raise Unusual("a version of the body that isn't text")
    return _text(content), checked


def _attachment(given: Any) -> Attachment:
    if type(given) is MIMEPart:
        return _single_part(given)
    if not (isinstance(given, tuple) and len(given) == 3):
        raise Unusual("an attachment that isn't one, or that lacks its type")
    filename, content, mimetype = given
    name = None if filename is None else _text(filename)
    if len(name or "") + len(mimetype or "") > _LONGEST_NAMES:
        raise Unusual("more than is worth keeping")
    return name, content if type(content) is bytes else _text(content), _mimetype(mimetype)


def _single_part(part: MIMEPart) -> MIMEPart:
    """The part, if it was made in code and holds one content, so that its bytes are no surprise."""
    policy: Any = part.policy
    if type(policy) is not EmailPolicy or not is_pythons(policy.header_factory):
        raise Unusual("a part that may do things its own way")
    if vars(part).keys() != _OF_PARTS or type(vars(part)["_payload"]) is not str:
        raise Unusual("a part with more to it, or with less")
    headers = {name.lower(): value for name, value in part.raw_items()}
    if len(headers) < len(part) or not all(isinstance(h, BaseHeader) for h in headers.values()):
        raise Unusual("a part with a header that stands there twice, or that was read and not set")
    if part.get_content_maintype() not in _SINGLE:
        raise Unusual("a part that may hold others")
    return part


def _fields(message: Any, family: Family) -> list[tuple[str, str]]:
    """The header fields in the order in which ``message()`` sets them."""
    given, others = _extra_fields(dict((message.extra_headers or {}).items()), family)
    sender = given["From"] if "From" in given else _text(message.from_email)
    fields = [("Subject", _text(message.subject)), ("From", sender)]
    for attribute, name in ADDRESS_LISTS.items():
        # Looked at even where a header takes their place: somebody gets the message.
        addresses = getattr(message, attribute)
        listed = _addresses(addresses, family) if addresses else ""
        value = given.get(name, listed)
        if value:
            fields.append((name, value))
    for address in message.bcc or ():
        refuse_line_ends(_text(address or ""), "Bcc")
    return fields + others


def _extra_fields(
    extra_headers: dict[Any, Any], family: Family
) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Those extra headers that take the place of an attribute, by its header; the others."""
    if not extra_headers:
        return {}, []
    if {*map(type, extra_headers)} != {str}:
        raise Unusual("a header whose name may be written in another way than it compares")
    replacing, others = _by_place(tuple(extra_headers))
    if family is not Family.OURS and any(
        header != name or not extra_headers[name] for header, name in replacing
    ):
        raise Unusual("a header that Django writes though it is empty, or in another spelling")
    given = {header: _text(extra_headers[name]) for header, name in replacing}
    return given, [(name, _text(extra_headers[name])) for name in others]


@lru_cache(maxsize=256)  # nearly all messages of a program have the same ones
def _by_place(names: tuple[str, ...]) -> tuple[list[tuple[str, str]], list[str]]:
    """Those extra headers that take the place of an attribute, with its header; the others."""
    lower_names = [name.lower() for name in names]
    if len({*lower_names}) < len(names) or not _SPECIAL.isdisjoint(lower_names):
        raise Unusual("a header that stands there twice, or that isn't an extra one")
    if not all(_FIELD_NAME.fullmatch(name) for name in names):
        raise Unusual("a header with an odd name")
    headers = [(_OF_ATTRIBUTES.get(name.lower()), name) for name in names]
    replacing = [(header, name) for header, name in headers if header]
    return replacing, [name for header, name in headers if not header]


def _addresses(addresses: Any, family: Family) -> str:
    if not isinstance(addresses, (list, tuple)):
        raise Unusual("recipients that are no list")
    if family is not Family.OURS and not all(addresses):
        raise Unusual("an empty address, which Django writes")
    return ", ".join([_text(address) for address in addresses if address])
