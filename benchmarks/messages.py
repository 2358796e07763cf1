"""The messages that are measured, composed with whichever library is handed in.

Each has a number, which stands in its recipient's address, its subject and its text, so that the
one who receives it can tell which it is and whether it is whole.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from email.message import MIMEPart
from typing import Any

SENDER = "a@example.com"
LINE = "All the news that fits into a line of eighty characters, more or less.\n"
TEXT = LINE * 14
SHORT_TEXT = LINE * 7
HTML = "<p>All the <b>news</b> that fits into a line of eighty characters.</p>\n" * 42
# The same in every process, and nothing that compresses.
ATTACHMENT, LOGO = random.Random(6).randbytes(1024 * 1024), random.Random(7).randbytes(10 * 1024)


def recipient(number: int) -> str:
    """Whose message that is."""
    return f"recipient-{number}@example.com"


def subject(number: int) -> str:
    """What its subject is."""
    return f"News for reader {number}"


def greeting(number: int) -> str:
    """How its text begins."""
    return f"Dear reader {number},\n"


def text_and_html(mail: Any, number: int = 0) -> Any:
    """A message of 4 kB in two versions."""
    text, html = greeting(number) + TEXT, greeting(number) + HTML
    message = mail.EmailMultiAlternatives(subject(number), text, SENDER, [recipient(number)])
    message.attach_alternative(html, "text/html")
    return message


def note(mail: Any, number: int = 0) -> Any:
    """A plain message of 0.8 kB, headers included."""
    text = greeting(number) + SHORT_TEXT
    return mail.EmailMessage(subject(number), text, SENDER, [recipient(number)])


def with_logo(mail: Any, number: int = 0) -> Any:
    """The text and HTML with a logo of 10 kB that the HTML shows."""
    message = text_and_html(mail, number)
    part = MIMEPart()
    part.set_content(LOGO, maintype="image", subtype="png", disposition="inline", cid="<logo>")
    message.attach(part)
    return message


def with_attachment(mail: Any, number: int = 0) -> Any:
    """A message with 1 MiB of random bytes, which are the same for all."""
    text = greeting(number) + TEXT
    message = mail.EmailMessage(subject(number), text, SENDER, [recipient(number)])
    message.attach("data.bin", ATTACHMENT, "application/octet-stream")
    return message


SHAPES: dict[str, Callable[[Any, int], Any]] = {
    "text_and_html": text_and_html,
    "note": note,
    "with_attachment": with_attachment,
}


def contents(shape: str, number: int) -> dict[str, bytes]:
    """What such a message has to say when it arrives: each part's content by its type."""
    text = SHORT_TEXT if shape == "note" else TEXT
    found = {"text/plain": (greeting(number) + text).encode()}
    if shape == "text_and_html":
        found["text/html"] = (greeting(number) + HTML).encode()
    if shape == "with_attachment":
        found["application/octet-stream"] = ATTACHMENT
    return found
