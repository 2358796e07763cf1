"""The backend that keeps messages in memory, for tests: in ``mailqueue.outbox``."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import mailqueue
from mailqueue.queue.accepted import Accepted

from .base import BaseEmailBackend

_given: set[str] = set()  # the ids that messages have here


class EmailBackend(BaseEmailBackend):
    """Appends a copy of each message to the list ``mailqueue.outbox``, which it makes if need be.

    The copy's ``sent_using`` is the alias of the mailer, or None. The message is built first, so
    that a bad header is found in tests as it would be in earnest. For the same reason each message
    gets a ``mailqueue_id``, of which ``mailqueue.fate()`` knows that it was sent.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not hasattr(mailqueue, "outbox"):
            mailqueue.outbox = []

    def send_messages(self, email_messages: Iterable[Any]) -> Accepted:
        ids = []
        for message in list(email_messages or ()):
            message.message()
            ids.append(_give_id(message))
            copied = _copy(message)
            copied.sent_using = self.alias
            mailqueue.outbox.append(copied)
        return Accepted(len(ids), ids)


def _give_id(message: Any) -> str:
    """Give the message an id of its own: that of the queue which delivers it here, or a new one."""
    id_ = getattr(message, "mailqueue_id", None)
    if not isinstance(id_, str) or id_ in _given:  # the same object, sent again
        id_ = os.urandom(10).hex()
        with suppress(Exception):  # one that takes no new attributes is sent all the same
            message.mailqueue_id = id_
    _given.add(id_)
    return id_


def _copy(message: Any) -> Any:
    # Who reuses a message for the next recipient changes its lists and parts in place. But the
    # connection stays what it is: it has a socket and a lock, which can't be copied.
    # Looked up where it is kept: to read Django's attribute is deprecated since Django 6.1.
    kept = (getattr(message, "__dict__", {}).get(name) for name in ("connection", "_connection"))
    shared = {id(connection): connection for connection in kept}
    try:
        return copy.deepcopy(message, dict(shared))
    except Exception:  # noqa: BLE001 - whatever __deepcopy__ and __reduce__ raise
        # Something on it can't be copied, an open file perhaps: the rest can.
        copied = copy.copy(message)
        vars(copied).update(
            {name: _copy_if_possible(value, shared) for name, value in vars(message).items()}
        )
        return copied


def _copy_if_possible(value: Any, shared: Mapping[int, Any]) -> Any:
    try:
        return copy.deepcopy(value, dict(shared))
    except Exception:  # noqa: BLE001
        return copy.copy(value) if isinstance(value, (list, dict, set)) else value
