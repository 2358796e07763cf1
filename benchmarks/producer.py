"""Sends many messages to different recipients by one `send_messages()`, and prints what it took.

A process of its own, so that its peak memory is its own. It imports nothing but the library that
is measured: `benchmarks.memory` runs it in the environment of each.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from benchmarks.messages import ATTACHMENT, TEXT

BACKENDS = {
    "mailqueue": "mailqueue.backends.queue.EmailBackend",
    "django-celery-email": "djcelery_email.backends.CeleryEmailBackend",
}


def messages(mail: Any, number: int, attach: bool) -> Iterator[Any]:
    """Messages of 1 kB, each to a recipient of its own, all with one attachment or with none."""
    for index in range(number):
        to = [f"recipient-{index}@example.com"]
        message = mail.EmailMessage("News", TEXT, "a@example.com", to)
        if attach:
            message.attach("data.bin", ATTACHMENT, "application/octet-stream")
        yield message


def mail_of(library: str, broker: str) -> Any:
    """The module with the library's messages and its `get_connection()`, set up."""
    if library == "mailqueue":
        return import_module("mailqueue")
    import_module("django.conf").settings.configure(INSTALLED_APPS=["djcelery_email"])
    import_module("django").setup()
    app = import_module("celery").Celery(broker=broker)
    app.set_default()
    with app.producer_or_acquire() as producer:
        # Connected before the clock starts, since the time for a few is scaled to many.
        producer.connection.default_channel.client.ping()
    return import_module("django.core.mail")


def peak() -> int:
    """The most memory that this process ever held, in bytes."""
    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found if sys.platform == "darwin" else found * 1024


def main() -> None:
    """Send, and print seconds and peak memory (before and after sending) as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", choices=BACKENDS)
    parser.add_argument("number", type=int)
    parser.add_argument("--attach", action="store_true")
    parser.add_argument("--broker", default="")
    options = parser.parse_args()
    mail = mail_of(options.library, options.broker)
    connection = mail.get_connection(BACKENDS[options.library])
    before = peak()
    start = time.perf_counter()
    connection.send_messages(messages(mail, options.number, options.attach))
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "idle": before, "peak": peak()}))


if __name__ == "__main__":
    main()
