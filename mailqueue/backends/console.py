"""The backend that prints messages instead of sending them."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from email.parser import BytesHeaderParser
from typing import Any

from mailqueue.mail.rendering.flatten import flatten_for_reading

from .base import BaseEmailBackend

_RULE = "-" * 79


class EmailBackend(BaseEmailBackend):
    """Writes messages to ``stream``, which is the standard output unless another is given."""

    def __init__(self, fail_silently: bool = False, *, stream: Any = None, **kwargs: Any) -> None:
        super().__init__(fail_silently, **kwargs)
        # Looked up anew for each backend: tests and servers replace sys.stdout.
        self.stream: Any = sys.stdout if stream is None else stream
        self._lock = threading.RLock()

    def write_message(self, message: Any) -> None:
        """Write one message to the stream, and a line under it."""
        data = flatten_for_reading(message)
        head, gap, body = data.partition(b"\n\n")
        # Headers that aren't ASCII are in UTF-8 (RFC 6532), whatever the body is in.
        shown = (head + gap).decode("utf-8", "backslashreplace")
        shown += body.decode(_charset(data), "backslashreplace")
        self.stream.write(f"{shown}\n{_RULE}\n")

    def send_messages(self, email_messages: Iterable[Any]) -> int:
        messages = list(email_messages or ())
        with self._lock:
            try:
                return self._write(messages)
            except Exception:
                if not self.fail_silently:
                    raise
                return 0

    def _write(self, messages: list[Any]) -> int:
        opened = self.open() if messages else False
        try:
            for message in messages:
                self.write_message(message)
                self.stream.flush()
        finally:
            if opened:
                self.close()
        return len(messages)


def _charset(data: bytes) -> str:
    # From what was written: building the message again could do again what a subclass does there.
    return BytesHeaderParser().parsebytes(data).get_content_charset() or "utf-8"
