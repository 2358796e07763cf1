"""Sends a message every few milliseconds until SIGTERM, and notes each one that was accepted.

Run it with `python -m tests.faults.long.producer LIBRARY RATE FILE`. Each line of the file is a
Message-ID whose `send()` has returned. It imports nothing but the library that it sends by.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

TEXT = "All the news that fits into a line of eighty characters, more or less.\n" * 14


def by_mailqueue() -> Callable[[str], object]:
    """Through the queue; what may have been accepted or not is sent again, as the error says."""
    mailqueue, errors = import_module("mailqueue"), import_module("mailqueue.errors")

    def send(message_id: str) -> None:
        message = letter(mailqueue, message_id)
        while True:
            try:
                message.send()
            except errors.EnqueueUnknown:
                continue
            return

    return send


def by_django_celery_email() -> Callable[[str], object]:
    """With Django and django-celery-email."""
    import_module("tests.faults.long.django_celery_email")
    mail = import_module("django.core.mail")
    return lambda message_id: letter(mail, message_id).send()


def by_plain_celery() -> Callable[[str], object]:
    """With a task of one's own."""
    return import_module("tests.faults.long.plain_celery").send.delay


def letter(mail: object, message_id: str) -> object:
    """One message of a kilobyte."""
    headers = {"Message-ID": f"<{message_id}>"}
    return mail.EmailMessage("News", TEXT, "a@example.com", ["b@example.com"], headers=headers)


WAYS = {
    "mailqueue": by_mailqueue,
    "django-celery-email": by_django_celery_email,
    "plain Celery": by_plain_celery,
}


def main(library: str, rate: float, notes: Path) -> None:
    """Send; what is late is made up for, so that the rate holds on the whole."""
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping  # no Event: its lock may be this thread's at that moment
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    send = WAYS[library]()
    start, number = time.monotonic(), 0
    with notes.open("a", buffering=1) as accepted:
        while not stopping:
            message_id = f"{number}.{os.getpid()}@producer.example"
            number += 1
            try:
                send(message_id)
            except Exception as error:  # noqa: BLE001 - not accepted: the program keeps it
                print(f"not accepted: {error}", flush=True)
            else:
                accepted.write(f"{message_id}\n")
            time.sleep(max(0.0, start + number / rate - time.monotonic()))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), Path(sys.argv[3]))
