"""From a message of anybody's class to its bytes: build it, have its parts fit, write them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from email.message import Message
from email.policy import EmailPolicy, Policy
from typing import Any, TypeAlias

from mailqueue.errors import BadHeaderError, locate

from ..forwarded import comes_as_it_is, message_source, put_message
from ..message import EmailMessage
from ..part import outer_parts
from .boundary import set_boundaries, write_whole
from .fit import WRITING_ERRORS, fit, own_copy
from .generator import LINE_END
from .shape import is_built_as_usual

_HEADER_END = re.compile(r"[\r\n](?![\n \t])")  # not a fold
_STREAM = "application/octet-stream"

_Message: TypeAlias = "Message[Any, Any]"


def build(message: Any, policy: EmailPolicy[Any] | None = None) -> _Message:
    """What ``message()`` builds, by that policy if it takes one.

    Messages that Django's classes would parse are written as they came, as ours are.
    """
    sources = attached_messages(message)
    if sources:
        message = copy(message)
        message.attachments = [
            (given[0], b"", _STREAM) if place in sources else given
            for place, given in enumerate(message.attachments)
        ]
    takes_policy = policy is not None and "policy" in inspect.signature(message.message).parameters
    built: _Message = message.message(policy=policy) if takes_policy else message.message()
    if sources:
        everything: Any = built.get_payload()
        parts = everything[-len(message.attachments) :]
        for place, (mimetype, data) in sources.items():
            put_message(parts[place], mimetype, data)
    return built


def attached_messages(message: Any) -> dict[int, tuple[str, bytes]]:
    """Those attachments of a message of Django's that are messages: by place, type and bytes."""
    kind = type(message)
    if not is_built_as_usual(message) or issubclass(kind, EmailMessage):
        return {}
    return {
        place: (given[2], _source(*given[:2]))
        for place, given in enumerate(message.attachments or ())
        if isinstance(given, (tuple, list)) and len(given) == 3 and _is_source(given[1], given[2])
    }


def _source(filename: Any, content: Any) -> bytes:
    try:
        return message_source(content)
    except UnicodeEncodeError as error:
        raise locate(error, f"the attachment {filename!r:.100}") from None


def _is_source(content: Any, mimetype: Any) -> bool:
    return isinstance(mimetype, str) and comes_as_it_is(content, mimetype)


def write_built(
    built: _Message,
    id_: str | None = None,
    *,
    linesep: str,
    seven_bit: bool = False,
    utf8: bool = False,
) -> bytes:
    """The bytes of what was built, with those line ends, for a server of that kind.

    Boundaries derive from ``id_``. What was built stays as it is. Raises ValueError or TypeError
    for what can't be written, naming it.
    """
    changes: dict[str, Any] = {"linesep": linesep, "cte_type": "7bit" if seven_bit else "8bit"}
    policy: Policy[Any] = built.policy.clone(**changes)
    if isinstance(policy, EmailPolicy):
        policy = policy.clone(utf8=utf8)
    refuse_injected_headers(built)
    whole = own_copy(built)
    with _explaining(whole, policy):
        if id_ is not None:
            set_boundaries(whole, id_)
        fit(whole, policy, id_)
        data = write_whole(whole, policy, id_)
    # A part that was made elsewhere may have other line ends than the policy's.
    return LINE_END.sub(linesep.encode(), data)


def refuse_injected_headers(built: _Message) -> None:
    """Raise BadHeaderError for a header that would be written as several, whoever built it.

    Django 5.2 and Python's older policy write any name, and some any value.
    """
    for part in outer_parts(built):
        for name, value in part.raw_items():
            if _HEADER_END.search(f"{name}: {value}"):
                raise BadHeaderError(
                    f"a header would be written as several: {name!r}: {str(value)!r}"
                )


@contextmanager
def _explaining(whole: _Message, policy: Policy[Any]) -> Iterator[None]:
    """Have whatever Python raises say which header, or what else, can't be written."""
    try:
        yield
    except WRITING_ERRORS as error:
        if isinstance(error, ValueError | TypeError) and not isinstance(error, UnicodeError):
            raise
        raise _explanation(whole, policy, error) from error


def _explanation(whole: _Message, policy: Policy[Any], error: Exception) -> ValueError:
    for part in whole.walk():
        for name, value in part.raw_items():
            try:
                policy.fold_binary(name, value)
            except WRITING_ERRORS:
                return ValueError(f"the header {name!r} can't be written: {str(value)!r:.200}")
    return ValueError(f"the message can't be written: {type(error).__name__}: {error}")
