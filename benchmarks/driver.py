"""Sends messages by one library, and tells what that took in the process that sends.

A program of its own, `python -m benchmarks.driver LIBRARY`, in the environment of that library. It
stays for all runs, as a web server's process does; every run builds its messages anew.
"""

from __future__ import annotations

import os
import smtplib
import statistics
import sys
import time
from collections.abc import Iterable, Iterator
from email import policy
from importlib import import_module
from typing import Any

from benchmarks.messages import SENDER, SHAPES
from benchmarks.process import answer_requests, forget_peak, peak


class Library:
    """Any library with Django's mail API: a list by one call, a message by ``send()``."""

    def __init__(self, mail: Any) -> None:
        self.mail = mail

    def prepared(self, messages: Iterator[Any]) -> Iterable[Any]:
        """What is sent, before the clock starts; messages are built while it runs."""
        return messages

    def send_list(self, messages: Iterable[Any]) -> None:
        """Send many at once."""
        self.mail.get_connection().send_messages(messages)

    def send_one(self, message: Any) -> None:
        """Send one."""
        message.send()

    def finish(self) -> None:
        """What belongs to the time of a run but to no single message."""


class BareLoop(Library):
    """`smtplib` over one connection, with bytes that were rendered before."""

    server: smtplib.SMTP | None = None

    def prepared(self, messages: Iterator[Any]) -> Iterable[Any]:
        return [(m.recipients(), m.message(policy=policy.SMTP).as_bytes()) for m in messages]

    def send_list(self, messages: Iterable[Any]) -> None:
        for message in messages:
            self.send_one(message)

    def send_one(self, message: Any) -> None:
        if self.server is None:
            self.server = smtplib.SMTP("127.0.0.1", int(os.environ["EMAIL_PORT"]))
        recipients, content = message
        self.server.sendmail(SENDER, recipients, content)

    def finish(self) -> None:
        if self.server is not None:
            self.server.quit()
        self.server = None


class PostOffice(Library):
    """django-post_office: its own `send_many()` where that can be used, which inserts in bulk."""

    def send_list(self, messages: Iterable[Any]) -> None:
        atomic = import_module("django.db.transaction").atomic
        post_office = import_module("post_office.mail")
        listed = list(messages)
        with atomic():  # else every message is a transaction
            if any(message.attachments for message in listed):
                self.mail.get_connection().send_messages(listed)
            else:
                post_office.send_many([_keywords(message) for message in listed])


def _keywords(message: Any) -> dict[str, Any]:
    """The message in django-post_office's own terms."""
    alternatives = getattr(message, "alternatives", ())
    return {
        "recipients": message.to,
        "sender": message.from_email,
        "subject": message.subject,
        "message": message.body,
        "html_message": alternatives[0][0] if alternatives else "",
    }


def library(name: str) -> Library:
    """Set the library of that name up."""
    if name == "mailqueue" and "DJANGO_SETTINGS_MODULE" in os.environ:
        import_module("django").setup()
        return Library(import_module("django.core.mail"))
    if name == "mailqueue":
        return Library(import_module("mailqueue"))
    if name == "bare smtplib":
        return BareLoop(import_module("mailqueue"))
    import_module("benchmarks.project")
    kind = PostOffice if name == "django-post_office" else Library
    return kind(import_module("django.core.mail"))


def run(
    used: Library, way: str, shape: str, first: int, number: int, every: float = 0.0
) -> dict[str, Any]:
    """Send messages of that shape with these numbers; tell when it began and what it took.

    With ``every``, single messages are sent so many seconds apart, and each one's start is told.
    """
    compose = SHAPES[shape]
    messages = (compose(used.mail, n) for n in range(first, first + number))
    prepared = used.prepared(messages)
    each: list[float] = []
    starts: list[float] = []
    forget_peak()
    cpu, start = time.process_time(), time.monotonic()
    if way == "list":
        used.send_list(prepared)
    else:
        for number_sent, message in enumerate(prepared):
            if every:
                time.sleep(max(0.0, start + number_sent * every - time.monotonic()))
                starts.append(time.monotonic())
            before = time.perf_counter()
            used.send_one(message)
            each.append(time.perf_counter() - before)
    used.finish()
    seconds, cpu = time.monotonic() - start, time.process_time() - cpu
    took = {"start": start, "seconds": seconds, "cpu": cpu, "peak": peak()}
    return {**took, "starts": starts, **quantiles(each)}


def quantiles(values: list[float]) -> dict[str, float]:
    """Median and 99th percentile; nothing where there are too few."""
    if len(values) < 2:
        return {}
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": cuts[49], "p99": cuts[98]}


def main() -> None:
    """Answer until the standard input ends."""
    used = library(sys.argv[1])

    def answer(**arguments: Any) -> dict[str, Any]:
        return run(used, **arguments)

    answer_requests({"send": answer})


if __name__ == "__main__":
    main()
