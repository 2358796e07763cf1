"""django-celery-email's own tests, run against mailqueue in a process of their own.

``python tests/suites/celery_email.py SDIST RESULTS URL``: SDIST is the unpacked source of
django-celery-email, RESULTS a file for what came out, and URL a Redis or Valkey for the journal.
Not by ``-m``: what the suite calls ``tests`` is the suite itself.

Its package is stood in for by the three modules below, so that what its tests send goes through our
queue backend, payload, journal and delivery, to Django's backend in memory.
"""

from __future__ import annotations

import base64
import importlib
import json
import sys
import unittest
from copy import copy
from pathlib import Path
from types import ModuleType
from typing import Any

from mailqueue.backends.queue import EmailBackend
from mailqueue.conf import settings
from mailqueue.delivery.batch import Item
from mailqueue.delivery.connection import Connection, Limits
from mailqueue.delivery.executor import Delivery
from mailqueue.delivery.opening import open_transport
from mailqueue.delivery.retry import RetryPolicy
from mailqueue.queue import payload
from mailqueue.queue.journal import open_journal
from mailqueue.queue.payload.codec import parse

LEFT_OUT = {
    "ConfigTests": "mailqueue has no options for Celery's tasks",
    "BackendTests": "no login travels to a task, and BATCH_SIZE says how large one is",
    "TaskErrorTests": "counts in a backend object, of which there is another after an error",
    "test_backend_parameters": "no arguments of a backend travel to a task",
    "test_backend_parameters_kwargs": "the same",
    "test_email_to_dict_extra_attrs": "a payload has them under a key of their own",
    "test_dict_to_email_extra_attrs": "the same",
}
NOBODY = "nobody@example.com"  # the tests send messages to nobody, which a queue passes over
PICTURE = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
)


def email_to_dict(message: Any) -> dict[str, Any]:
    """The payload, without what is another for each message."""
    if isinstance(message, dict):
        return message
    message = copy(message)
    fixed = {"Message-ID": "<a@b.c>", "Date": "Sat, 21 Nov 2026 11:20:55 +0000"}
    message.extra_headers = {**message.extra_headers, **fixed}
    for name in ("mailqueue_id", "sent_using", "recipients"):
        vars(message).pop(name, None)
    message.to = message.to or [NOBODY]
    found = parse(payload.dumps(message, "0" * 20))
    found.pop("added", None)
    return found


def dict_to_email(found: Any) -> Any:
    return payload.loads(json.dumps(found)) if isinstance(found, dict) else found


class SendEmails:
    """The task, which delivers at once."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __call__(self, messages: Any, backend_kwargs: Any = None) -> int:
        messages = messages if isinstance(messages, (list, tuple)) else [messages]
        messages = [dict_to_email(message) for message in messages]
        for message in messages:
            message.to = message.to or [NOBODY]
        backend = importlib.import_module("django.conf").settings.CELERY_EMAIL_BACKEND
        with settings.overridden(MAILQUEUE={"BROKER_URL": self._url, "BACKEND": backend}):
            assert EmailBackend().send_messages(messages) == len(messages)
            return deliver([message.mailqueue_id for message in messages])

    def delay(self, messages: Any, *_: Any) -> Any:
        return Result(self(messages))


class Result(int):
    def get(self) -> int:
        return self


def deliver(ids: list[str]) -> int:
    """Deliver in the order of the ids, as a worker does; return how many were sent."""
    limits = Limits(max_messages=1000, max_age=600, idle=60)
    connection = Connection(open_transport, limits)
    policy = RetryPolicy((60.0,), max_age=3600, doubt=None)
    try:
        return Delivery(open_journal(), connection, policy).run([Item(id_) for id_ in ids])["sent"]
    finally:
        connection.close()


class ChunkingBackend:
    """The backend: a job for each chunk, and a list of their results as its result."""

    def __init__(self, **_: Any) -> None:
        pass

    def send_messages(self, messages: Any) -> list[Any]:
        conf = importlib.import_module("django.conf").settings
        size = getattr(conf, "CELERY_EMAIL_CHUNK_SIZE", 10)
        chunks = [messages[start : start + size] for start in range(0, len(messages), size)]
        task = sys.modules["djcelery_email.tasks"].send_emails
        return [task.delay([email_to_dict(each) for each in chunk]) for chunk in chunks]


def stand_in(name: str, **contents: Any) -> None:
    sys.modules[name] = ModuleType(name)
    vars(sys.modules[name]).update(contents)
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, sys.modules[name])


def set_django_up() -> None:
    conf = importlib.import_module("django.conf")
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    locmem = "django.core.mail.backends.locmem.EmailBackend"
    conf.settings.configure(
        SECRET_KEY="suite", DATABASES={"default": database}, CELERY_EMAIL_BACKEND=locmem
    )
    importlib.import_module("django").setup()
    importlib.import_module("django.test.utils").setup_test_environment()
    conf.settings.EMAIL_BACKEND = "djcelery_email.backends.ChunkingBackend"


def is_left_out(test: unittest.TestCase) -> bool:
    return not LEFT_OUT.keys().isdisjoint(test.id().split("."))


def main(sdist: str, results: str, url: str) -> None:
    set_django_up()
    task = SendEmails(url)
    stand_in("djcelery_email", __path__=[])
    stand_in("djcelery_email.utils", email_to_dict=email_to_dict, dict_to_email=dict_to_email)
    stand_in("djcelery_email.tasks", send_email=task, send_emails=task)
    stand_in("djcelery_email.backends", ChunkingBackend=ChunkingBackend)
    sys.path.insert(0, sdist)
    (Path(sdist) / "tests" / "image.png").write_bytes(base64.b64decode(PICTURE))
    found = unittest.defaultTestLoader.loadTestsFromName("tests.tests")
    tests = [test for case in found for test in case if not is_left_out(test)]  # type: ignore[union-attr]
    result = unittest.TestResult()
    unittest.TestSuite(tests).run(result)
    failed = {str(test): text for test, text in [*result.failures, *result.errors]}
    Path(results).write_text(json.dumps({"ran": result.testsRun, "failed": failed}), "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
