"""Log lines of the producer, which must not come back to it as mail to be sent."""

from __future__ import annotations

import logging
from contextvars import ContextVar

_reporting = ContextVar("mailqueue_reporting", default=False)


def report(log: logging.Logger, text: str, *arguments: object) -> None:
    """Log an error, unless a handler that sends mail (Django's AdminEmailHandler) led here.

    Such a handler would queue a message for the error, which fails in turn, and so on.
    """
    if _reporting.get():
        return
    token = _reporting.set(True)
    try:
        log.error(text, *arguments)
    finally:
        _reporting.reset(token)
