"""Sample payloads, one of each shape: `python -m tests.contracts.samples` writes those that lack.

What is written stays: later versions must read it. A new format version gets new files.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from email.message import MIMEPart
from pathlib import Path
from typing import Any

from mailqueue import EmailMessage, EmailMultiAlternatives
from mailqueue.mail.rendering.render import rendered_bytes
from mailqueue.queue import payload
from mailqueue.queue.payload.blob import BlobCollector
from mailqueue.queue.payload.codec import VERSION

DIRECTORY = Path(__file__).parent / "payloads"
HEADERS = {"Message-ID": "<sample@example.com>", "Date": "Sat, 21 Nov 2026 09:30:00 +0000"}


def plain() -> Any:
    message = EmailMessage("Gr\u00fc\u00dfe", "Ein Brief.", to=["you@example.com"], headers=HEADERS)
    message.cc, message.bcc = ["cc@example.com"], ["bcc@example.com"]
    return message


def html_only() -> Any:
    message = EmailMessage("Hello", "<p>HTML</p>", to=["you@example.com"], headers=HEADERS)
    message.content_subtype = "html"
    return message


def alternatives() -> Any:
    message = EmailMultiAlternatives("Hello", "text", to=["you@example.com"], headers=HEADERS)
    message.attach_alternative("<p>HTML</p>", "text/html")
    message.attach_alternative("BEGIN:VCALENDAR\nEND:VCALENDAR\n", "text/calendar")
    message.tags, message.metadata = ["a"], {"order": 17}
    return message


def attachments() -> Any:
    message = EmailMessage("Hello", "text", to=["you@example.com"], headers=HEADERS)
    message.attach("a.bin", bytes(range(256)), "application/octet-stream")
    message.attach("a.bin", b"the second of that name", "application/octet-stream")
    message.attach("notes.txt", "caf\u00e9\n", "text/plain")
    image = MIMEPart()
    image.set_content(b"PNG", maintype="image", subtype="png", disposition="inline", cid="<logo>")
    message.attach(image)
    return message


def forwarded() -> Any:
    message = EmailMessage("Fwd: Hello", "See below.", to=["you@example.com"], headers=HEADERS)
    message.attach(None, plain(), "message/rfc822")
    return message


def large() -> Any:
    message = EmailMessage("Hello", "text", to=["you@example.com"], headers=HEADERS)
    message.attach("large.txt", "0123456789\n" * 200, "text/plain")
    message.attach("large.bin", bytes(2000), "application/octet-stream")
    return message


def compressed() -> Any:
    return EmailMessage("News", "All of it.\n" * 500, to=["you@example.com"], headers=HEADERS)


class Own(EmailMessage):
    def message(self, **options: Any) -> Any:
        built = super().message(**options)
        built["X-Own"] = "yes"
        return built


def rendered() -> Any:
    return Own("Hello", "text", to=["you@example.com"], headers=HEADERS)


def unset() -> Any:
    message = EmailMessage(None, "What the template lacks.", to=["you@example.com"])
    message.from_email = None
    message.extra_headers = {"X-Number": 17, "X-Price": Decimal("12.50"), "X-Nothing": None}
    return message


def several_senders() -> Any:
    sender = "Ann <ann@example.com>, bob@example.com"
    return EmailMessage("Hello", "From both of us.", sender, ["you@example.com"])


MESSAGES: dict[str, Callable[[], Any]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        plain, html_only, alternatives, attachments, forwarded, large, compressed, rendered,
        unset, several_senders,
    )
}  # fmt: skip


def write(name: str, path: Path) -> None:
    message, blobs = MESSAGES[name](), BlobCollector(1024)
    text = payload.dumps(message, "sample", blobs)
    again = payload.loads(text, blobs.contents.__getitem__)  # with the Message-ID that it got
    sample = {
        "payload": json.loads(text),
        "blobs": blobs.contents,
        "recipients": message.recipients(),
        "content": rendered_bytes(again, "id").decode("latin-1"),
    }
    path.write_text(json.dumps(sample, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    DIRECTORY.mkdir(exist_ok=True)
    for each in MESSAGES:
        target = DIRECTORY / f"v{VERSION}-{each}.json"
        if not target.exists():
            write(each, target)
