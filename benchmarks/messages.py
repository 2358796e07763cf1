"""The messages that are measured, composed with whichever library is handed in."""

from __future__ import annotations

import os
from typing import Any

TEXT = "All the news that fits into a line of eighty characters, more or less.\n" * 14
HTML = "<p>All the <b>news</b> that fits into a line of eighty characters.</p>\n" * 42
ATTACHMENT = os.urandom(1024 * 1024)


def text_and_html(mail: Any) -> Any:
    """A message of 4 kB in two versions."""
    message = mail.EmailMultiAlternatives("News", TEXT, "a@example.com", ["b@example.com"])
    message.attach_alternative(HTML, "text/html")
    return message


def with_attachment(mail: Any) -> Any:
    """A message with 1 MiB of random bytes."""
    message = mail.EmailMessage("News", TEXT, "a@example.com", ["b@example.com"])
    message.attach("data.bin", ATTACHMENT, "application/octet-stream")
    return message
