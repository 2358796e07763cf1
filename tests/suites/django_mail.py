"""Django's own mail tests, run against mailqueue in a process of their own.

``python -m tests.suites.django_mail SDIST RESULTS plain|queue PATTERN…``: SDIST is the unpacked
source of a Django, which is the Django of this process, and RESULTS a file for what came out. The
tests whose names the patterns match are left out. With ``queue`` each message goes through its
payload before it is built or sent.

mailqueue's modules take the places of ``django.core.mail`` before anything imports that, so that
Django itself and its tests use nothing else.
"""

from __future__ import annotations

import email.errors
import faulthandler
import functools
import importlib
import importlib.util
import json
import re
import sys
import unittest
from contextlib import nullcontext
from contextvars import ContextVar
from fnmatch import fnmatchcase
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import mailqueue
from mailqueue.conf import settings
from mailqueue.mail import message, msgid, routing
from mailqueue.queue import payload
from mailqueue.queue.payload.blob import BlobCollector

MAIL = "django.core.mail"
KINDS = ["base", "console", "dummy", "filebased", "locmem", "smtp"]
PLACES = {
    MAIL: "mailqueue",
    f"{MAIL}.message": "mailqueue.mail.message",
    f"{MAIL}.utils": "mailqueue.mail.msgid",
    f"{MAIL}.exceptions": "mailqueue.errors",
    f"{MAIL}.handler": "mailqueue.mail.routing",
    f"{MAIL}.backends": "mailqueue.backends",
    **{f"{MAIL}.backends.{kind}": f"mailqueue.backends.{kind}" for kind in KINDS},
}
# Of what announces MAILERS, nothing is deprecated here (docs/mail-api.md).
NOT_SAID = re.compile(
    "MAILERS|[Mm]ailers|'(connection|fail_silently)' argument is deprecated|fail_silently is deprec"
    "|EmailMessage.connection attribute is deprecated|does not support '.*'"
)
A_LONG_TIME = 400  # seconds, for all of them


def missing(*_: Any) -> None:
    """Stand for a helper of Django's that isn't here; the tests that call it are left out."""
    raise AssertionError("mailqueue has no such function")


def take_the_places(sdist: Path) -> None:
    """Have Django import mailqueue for its mail package, and Django's warnings be any."""
    if not hasattr(email.errors, "HeaderWriteError"):  # imported by a test; Python 3.13 has it
        email.errors.HeaderWriteError = ValueError  # type: ignore[misc]
    deprecation = importlib.import_module("django.utils.deprecation")
    for name in [name for name in vars(deprecation) if name.startswith("RemovedIn")]:
        setattr(deprecation, name, DeprecationWarning)
    core = importlib.import_module("django.core")
    for place, ours in PLACES.items():
        sys.modules[place] = importlib.import_module(ours)
    core.mail = mailqueue  # type: ignore[attr-defined]
    # Private to Django, but asked for.
    mailqueue.DEFAULT_MAILER_ALIAS = "default"  # type: ignore[attr-defined]
    mailqueue.DEFAULT_ATTACHMENT_MIME_TYPE = "application/octet-stream"  # type: ignore[attr-defined]
    message.forbid_multi_line_headers = message.sanitize_address = missing  # type: ignore[attr-defined]
    is_configured = property(lambda _: bool(settings.MAILERS))
    routing.Mailers._is_configured = is_configured  # type: ignore[attr-defined]
    import_texts(sdist / "django" / "core" / "mail" / "deprecation.py")


def import_texts(path: Path) -> None:
    """Import the texts of Django 6.1's warnings, which its tests compare with."""
    if path.exists():
        name = f"{MAIL}.deprecation"
        spec = importlib.util.spec_from_file_location(name, path)
        sys.modules[name] = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
        spec.loader.exec_module(sys.modules[name])  # type: ignore[union-attr]


def set_django_up() -> ModuleType:
    """Configure Django as its own test runner does, and return the tests' base classes."""
    conf = importlib.import_module("django.conf")
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    conf.settings.configure(
        SECRET_KEY="suite", DATABASES={"default": database, "other": database}, USE_TZ=False
    )
    importlib.import_module("django").setup()
    importlib.import_module("django.test.utils").setup_test_environment()
    return importlib.import_module("django.test")


def accept_any_text(case: Any) -> None:
    """Have a warning asserted by its class alone; texts of errors are compared as they are."""

    def assert_warns(self: Any, category: Any, text: str, *args: Any, **kwargs: Any) -> Any:
        if NOT_SAID.search(text):
            return args[0](*args[1:], **kwargs) if args else nullcontext()
        return self.assertWarns(category, *args, **kwargs)

    case.assertWarnsMessage = assert_warns


class ThroughTheQueue:
    """Wraps what builds and what sends messages, so that they come from their payloads."""

    def __init__(self) -> None:
        self.rebuilt = 0
        self._ids = count()
        self._is_busy = ContextVar("is_busy", default=False)

    def install(self) -> None:
        for kind in KINDS:
            backend = sys.modules[f"mailqueue.backends.{kind}"]
            found = vars(getattr(backend, "EmailBackend", object))
            if "send_messages" in found:
                self._wrap(backend.EmailBackend, "send_messages", self._rebuild_all)
        self._wrap(mailqueue.EmailMessage, "message", None)

    def _wrap(self, owner: Any, name: str, rebuild: Any) -> None:
        original = vars(owner)[name]

        @functools.wraps(original)
        def wrapper(this: Any, *args: Any, **kwargs: Any) -> Any:
            if self._is_busy.get():
                return original(this, *args, **kwargs)
            token = self._is_busy.set(True)
            try:
                if rebuild is None:
                    return original(self._rebuild(this), *args, **kwargs)
                args = tuple(rebuild(each) for each in args)
            finally:
                self._is_busy.reset(token)
            return original(this, *args, **kwargs)

        setattr(owner, name, wrapper)

    def _rebuild_all(self, messages: Any) -> Any:
        if messages is None:
            return None
        rebuilt = [self._rebuild(each) for each in messages]
        return rebuilt if isinstance(messages, (list, tuple)) else iter(rebuilt)

    def _rebuild(self, message: Any) -> Any:
        self.rebuilt += 1
        blobs = BlobCollector(64)  # characters, so that there are some
        text = payload.dumps(message, f"{next(self._ids):020x}", blobs)
        return payload.loads(text, blobs.contents.__getitem__)


def collect(directory: Path) -> list[unittest.TestCase]:
    """Every test of the package ``mail`` there."""
    sys.path.append(str(directory))
    modules = [f"mail.{path.stem}" for path in sorted((directory / "mail").glob("test*.py"))]
    suite = unittest.defaultTestLoader.loadTestsFromNames(modules)
    return list(each_of(suite))


def each_of(suite: Any) -> Any:
    for test in suite:
        yield from each_of(test) if isinstance(test, unittest.TestSuite) else [test]


def main(sdist: str, results: str, way: str, *patterns: str) -> None:
    faulthandler.dump_traceback_later(A_LONG_TIME, exit=True)
    sys.path.insert(0, sdist)
    take_the_places(Path(sdist))
    accept_any_text(set_django_up().SimpleTestCase)
    tests = collect(Path(sdist) / "tests")
    trip = ThroughTheQueue()
    if way == "queue":
        trip.install()
    str(msgid.DNS_NAME)  # a test takes away what is kept of it
    names = {test: test.id().removeprefix("mail.") for test in tests}
    left_out = {t for t in tests if any(fnmatchcase(names[t], p) for p in patterns)}
    result = unittest.TestResult()
    unittest.TestSuite(test for test in tests if test not in left_out).run(result)
    found = {
        "rebuilt": trip.rebuilt,
        "ran": result.testsRun - len(result.skipped),
        "failed": {str(test): text for test, text in [*result.failures, *result.errors]},
        "idle": [p for p in patterns if not any(fnmatchcase(name, p) for name in names.values())],
    }
    Path(results).write_text(json.dumps(found), "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
