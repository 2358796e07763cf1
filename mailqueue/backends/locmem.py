"""The backend that keeps messages in memory, for tests: in ``mailqueue.outbox``."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import mailqueue

from .base import BaseEmailBackend


class EmailBackend(BaseEmailBackend):
    """Appends a copy of each message to the list ``mailqueue.outbox``, which it makes if need be.

    The message is built first, so that a bad header is found in tests as it would be in earnest.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not hasattr(mailqueue, "outbox"):
            mailqueue.outbox = []

    def send_messages(self, email_messages: Iterable[Any]) -> int:
        messages = list(email_messages or ())
        for message in messages:
            message.message()
            mailqueue.outbox.append(_copied(message))
        return len(messages)


def _copied(message: Any) -> Any:
    # Who reuses a message for the next recipient changes its lists and parts in place. But the
    # connection stays what it is: it has a socket and a lock, which can't be copied.
    connection = getattr(message, "connection", None)
    try:
        return copy.deepcopy(message, {id(connection): connection})
    except TypeError:
        return _copied_with_lists(message)


def _copied_with_lists(message: Any) -> Any:
    # There is something else that can't be copied.
    copied = copy.copy(message)
    for name, value in vars(message).items():
        if isinstance(value, (list, dict, set)):
            setattr(copied, name, copy.copy(value))
    return copied
