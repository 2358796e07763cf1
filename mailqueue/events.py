"""What a process says of its trouble: log lines that must not come back as mail, and counters."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from contextvars import ContextVar

_reporting = ContextVar("mailqueue_reporting", default=False)
_counts: Counter[str] = Counter()
_lock = threading.Lock()


def report(log: logging.Logger, text: str, *arguments: object, level: int = logging.ERROR) -> None:
    """Log a line, unless a handler that sends mail (Django's AdminEmailHandler) led here.

    Such a handler would queue a message for the line, which fails in turn, and so on.
    """
    if _reporting.get():
        return
    token = _reporting.set(True)
    try:
        log.log(level, text, *arguments)
    finally:
        _reporting.reset(token)


def count(name: str, number: int = 1) -> None:
    """Count what happened to messages in this process."""
    with _lock:
        _counts[name] += number


def counts() -> dict[str, int]:
    """What happened to messages in this process since its start, for whoever exports metrics.

    ``not_queued``: passed over with ``fail_silently``; ``spooled`` and ``sent_directly``: what
    ``ON_OUTAGE`` did. The others are in the journal, which counts them itself.
    """
    with _lock:
        return dict(_counts)
