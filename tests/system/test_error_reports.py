"""What Django's reports of errors show: no password of ours, in settings or variables of frames."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.servers import Valkey
from tests.support import ROOT

URL = "redis://user:s3cret@127.0.0.1:1/0"
# Both reports that Django makes, the page and the text, of an error that a view might run into. The
# first frame is the program's own.
PROGRAM = """
import json, os, sys
from django.conf import settings
settings.configure(**json.loads(sys.stdin.read()))
import django
django.setup()
from mailqueue import send_mail
from django.test import RequestFactory
from django.views.debug import ExceptionReporter

urlpatterns = []
request = RequestFactory().get("/", **os.environ)
del os
try:
    send_mail("Hello", "", "ann@example.com", ["bob@example.com"])
except Exception as error:
    reporter = ExceptionReporter(request, type(error), error, error.__traceback__.tb_next)
    print(type(error).__name__)
    print(reporter.get_traceback_html(), reporter.get_traceback_text())
"""


def report(**settings: object) -> tuple[str, str]:
    """The error of a ``send_mail()`` under these settings, and Django's reports of it."""
    values = {
        "INSTALLED_APPS": ["mailqueue.contrib.django"],
        "ROOT_URLCONF": "__main__",
        "SECRET_KEY": "of a test",
        **settings,
    }
    if "MAILERS" not in settings:
        values["EMAIL_BACKEND"] = "mailqueue.backends.queue.EmailBackend"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM],
        input=json.dumps(values),
        env={**os.environ, "PYTHONPATH": str(ROOT), "MAILQUEUE_JOURNAL_URL": URL},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    name, _, shown = done.stdout.partition("\n")
    return name, shown


WRONG = {
    "an unknown key": {"LAESE": "5m"},
    "no text": {"JOURNAL_URL": [URL]},
    "another setting": {"LEASE": "soon"},
    "no journal": {"BROKER_URL": "amqp://user:s3cret@127.0.0.1", "JOURNAL_URL": "amqp://:s3cret@x"},
    "a slash in the password": {"JOURNAL_URL": "redis://:s3cret/x@127.0.0.1:1/0"},
    "a single slash": {"JOURNAL_URL": "redis:/user:s3cret@127.0.0.1:1/0"},
    "no port": {"JOURNAL_URL": "redis://user:s3cret@127.0.0.1:port/0"},
    "no key": {"SECRET_KEYS": ["s3cret"]},
}


@pytest.mark.parametrize("options", WRONG.values(), ids=WRONG)
def test_a_report_of_a_wrong_setting_shows_no_password(options: dict[str, object]) -> None:
    """Neither a setting nor a variable of one of our frames does, with the debug page on."""
    name, shown = report(MAILQUEUE={"BROKER_URL": URL, **options}, DEBUG=True)
    assert name == "ImproperlyConfigured"
    assert "BROKER_URL" in shown
    assert "s3cret" not in shown


def test_a_report_of_a_journal_that_is_away_shows_no_password() -> None:
    """Its URL is hidden among the settings and in the environment that a request brings along."""
    name, shown = report(MAILQUEUE={"BROKER_URL": URL, "ENQUEUE_TIMEOUT": "5s"})
    assert name == "JournalUnavailable"
    assert "BROKER_URL" in shown
    assert "MAILQUEUE_JOURNAL_URL" in shown
    assert "s3cret" not in shown


def test_a_report_of_a_login_that_the_journal_refuses_shows_no_password(valkey: Valkey) -> None:
    """Nor do the variables of redis-py's frames, which have what it logged in with."""
    url = valkey.url.replace("redis://", "redis://user:s3cret@")
    name, shown = report(MAILQUEUE={"BROKER_URL": url, "JOURNAL_URL": url})
    assert name == "JournalUnavailable"
    assert "invalid username-password pair" in shown
    assert "s3cret" not in shown


def test_a_report_of_a_wrong_mailer_shows_no_password() -> None:
    """What a mailer is made of is kept in no frame."""
    options = {"host": "mail.example.com", "password": "s3cret", "usrname": "ann"}
    queue = {"BACKEND": "mailqueue.backends.queue.EmailBackend"}
    name, shown = report(
        MAILERS={"default": queue, "smtp": {"OPTIONS": options}},
        MAILQUEUE={"BROKER_URL": URL, "ON_OUTAGE": "send", "USING": "smtp"},
    )
    assert name == "InvalidMailer"
    assert "usrname" in shown
    assert "s3cret" not in shown
