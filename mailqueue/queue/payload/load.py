"""A payload to its message."""

from __future__ import annotations

import zlib
from base64 import b64decode
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from mailqueue.errors import PayloadError
from mailqueue.mail.rendering.completion import Completion, keep_apart

from .blob import Blob
from .codec import parse
from .content import load_alternative, load_attachment
from .derived import fields_in
from .dump import LISTS
from .kind import SHAPE, class_for
from .rendered import as_rendered
from .value import from_json

_OF_CONTENT = (ArithmeticError, zlib.error)  # a Decimal that is none, what isn't compressed


def loads(text: str, blob: Callable[[str], str | Blob] | None = None) -> Any:
    """Turn a payload into a message: of its producer's family where that is to be had, else ours.

    ``blob`` returns a large attachment by its name. Raises PayloadError for anything that isn't a
    payload of a known version, or that refers to an attachment that is gone.
    """
    try:
        found = parse(text)
        return (
            _load_rendered(found, blob)
            if found["kind"] == "rendered"
            else _load_fields(found, blob)
        )
    except PayloadError:
        raise
    except KeyError as error:
        raise PayloadError(f"the payload has no field {error}") from error
    except (TypeError, ValueError, AttributeError, RecursionError, *_OF_CONTENT) as error:
        raise PayloadError(f"the payload can't be read: {error}") from error


def _load_rendered(found: Mapping[str, Any], blob: Callable[[str], str | Blob] | None) -> Any:
    mime = b64decode(found["mime"])
    # Its own fields say more than what was built does; payloads of before have none.
    fields = fields_in(mime, found["recipients"]) | dict(found)
    plain = _load_fields(fields | {"kind": "EmailMultiAlternatives", "attributes": {}}, blob)
    message = as_rendered(plain, mime, found["recipients"])
    for name, value in found.get("attributes", {}).items():
        if not hasattr(message, name):  # its envelope and its content are what was built
            setattr(message, name, from_json(value))
    return message


def _check_types(found: Mapping[str, Any]) -> None:
    texts = [found[name] for name in ("subject", "from_email") if found[name] is not None]
    texts += [found["body"], found.get("sender", "")]
    texts += [text for name in LISTS for text in found[name]]
    texts += [text for header in found.get("added", {}).items() for text in header]
    for text in texts:
        if not isinstance(text, str):
            raise PayloadError(f"the payload has {text!r} where there must be text")
    for value in from_json(found["headers"]).values():
        if not isinstance(value, str | int | float | Decimal | None):
            raise PayloadError(f"the payload has {value!r} where there must be a header's value")


def _load_fields(found: Mapping[str, Any], blob: Callable[[str], str | Blob] | None) -> Any:
    _check_types(found)
    class_, family = class_for(found)
    lists = {name: found[name] for name in LISTS}
    message = class_(
        subject=found["subject"],
        body=found["body"],
        from_email=found["from_email"],
        headers=from_json(found["headers"]),
        **lists,
    )
    message.from_email = found["from_email"]  # the constructor takes "" for the default
    message.encoding = found["encoding"]
    for name, usual in SHAPE.items():
        if found.get(name, usual) != getattr(message, name, usual):
            setattr(message, name, found[name])
    message.attachments = [
        load_attachment(part, family.attachment, blob) for part in found["attachments"]
    ]
    if "alternatives" in found:
        message.alternatives = [
            load_alternative(part, family.alternative) for part in found["alternatives"]
        ]
    for name, value in found["attributes"].items():
        setattr(message, name, from_json(value))
    sender = found["sender"] if found["from_email"] is None else found.get("sender")
    if "added" in found:  # not in payloads of version 1
        keep_apart(message, Completion(found["added"], sender))
    message.mailqueue_id = found["id"]
    return message
