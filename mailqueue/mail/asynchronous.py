"""Sending from programs whose event loop must not wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterable, Iterable
from typing import Any

from .routing import get_connection, mailers, refuse_combination


async def asend(
    message: Any | Iterable[Any], *, fail_silently: bool = False, using: str | None = None
) -> int:
    """Send a message, or a list of them over one connection, and let the event loop go on.

    Returns what ``send()`` and ``send_messages()`` return, and raises what they raise. It runs in
    a thread of asyncio's own, with the caller's context variables. A call that is cancelled after
    it has begun goes on in its thread: the messages may be accepted, and then have their
    ``mailqueue_id`` a moment later. Don't change the messages until it has returned.

    When the interpreter is ending no thread can begin any more: then it sends in the caller's.
    """
    if isinstance(message, AsyncIterable):
        raise TypeError("asend() takes a message or a list of messages, no asynchronous generator")
    send = _send if hasattr(message, "recipients") else _send_list
    if not threading.main_thread().is_alive():
        return send(message, fail_silently, using)
    return await asyncio.to_thread(send, message, fail_silently, using)


def _send(message: Any, fail_silently: bool, using: str | None) -> int:
    # Only when it is set: before Django 6.1 its messages don't know the argument.
    sent: int = message.send(fail_silently, **({} if using is None else {"using": using}))
    return sent


def _send_list(messages: Iterable[Any], fail_silently: bool, using: str | None) -> int:
    refuse_combination(using=using, connection=None, fail_silently=fail_silently)
    backend = get_connection(fail_silently=fail_silently) if using is None else mailers[using]
    return backend.send_messages(messages) or 0
