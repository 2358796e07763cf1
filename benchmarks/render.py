"""What a message costs in the producer and in the worker, by the fast path and without it.

Run as: python -m benchmarks.render
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import mailqueue
from benchmarks.measure import interleaved, show
from benchmarks.messages import HTML, TEXT, text_and_html, with_attachment, with_logo
from mailqueue.mail.rendering.render import built_bytes, rendered_bytes
from mailqueue.queue import payload
from mailqueue.queue.payload.blob import BlobCache, BlobCollector

ROUNDS = 31


def long_lines(mail: Any) -> Any:
    """The same HTML in one line, as templates and minifiers make it: it has to be encoded."""
    message = mail.EmailMultiAlternatives("News", TEXT, "a@example.com", ["b@example.com"])
    message.attach_alternative(HTML.replace("\n", " "), "text/html")
    return message


def in_the_worker(message: Any, render: Callable[..., bytes], *, cached: bool) -> Callable[[], Any]:
    """Read the payload and render it; without ``cached`` the attachment is decoded each time."""
    blobs, cache = BlobCollector(32 * 1024), BlobCache()
    text = payload.dumps(message, "id", blobs)
    if cached:
        return lambda: render(
            payload.loads(text, lambda name: cache.get(name, blobs.contents.get)), "id"
        )
    return lambda: render(payload.loads(text, blobs.contents.__getitem__), "id")


def in_the_producer(message: Any, *, building: bool) -> Callable[[], Any]:
    """Write the payload, its digest and its summary; ``building`` the message too, as a check."""
    blobs = BlobCollector(32 * 1024)

    def dump() -> object:
        if building:
            payload._without_weight(message, blobs.threshold).message()
        recipients = message.recipients()
        text = payload.dumps(message, "id", blobs, recipients)
        return payload.digest(text), payload.summary(message, recipients)

    return dump


def main() -> None:
    """Measure each message both ways."""
    python = ".".join(map(str, sys.version_info[:3]))
    for title, compose, repeat in [
        ("Text + HTML, 4 kB", text_and_html, 50),
        ("Text + HTML in one line, 4 kB", long_lines, 50),
        ("Text + HTML + inline logo of 10 kB", with_logo, 50),
        ("Attachment of 1 MiB, shared", with_attachment, 3),
    ]:
        message = compose(mailqueue)
        worker = {
            "fast path": in_the_worker(message, rendered_bytes, cached=True),
            "message()": in_the_worker(message, built_bytes, cached=False),
        }
        producer = {
            "fast path": in_the_producer(message, building=False),
            "message()": in_the_producer(message, building=True),
        }
        for place, ways in (("worker, read and render", worker), ("producer, write", producer)):
            show(
                f"{title}: {place}, Python {python}", interleaved(ways, repeat, ROUNDS), "message()"
            )


if __name__ == "__main__":
    main()
