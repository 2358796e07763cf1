"""What `mailqueue.testing` gives to an application's tests, in a test run of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support import ROOT, STRICT

CONFTEST = 'pytest_plugins = ["mailqueue.testing"]\n'
TESTS = """
import pickle
import smtplib

import pytest

import mailqueue
from mailqueue import EmailMessage, mail_admins, send_mail
from mailqueue.testing import assert_queued, assert_sent


def greet(to="someone@example.com", subject="Hello"):
    message = EmailMessage(subject, "How are you?", "me@example.com", [to])
    message.send()
    return message


def test_the_outbox_starts_empty(mail_outbox):
    assert mail_outbox == []
    greet()
    assert [m.subject for m in mail_outbox] == ["Hello"]


def test_the_outbox_starts_empty_again(mail_outbox):
    assert mail_outbox == []


def test_assert_sent_finds_and_counts(mail_outbox):
    greet("a@example.com")
    greet("b@example.com", "Goodbye")
    assert [m.to for m in assert_sent(subject="good", to="B@")] == [["b@example.com"]]
    assert len(assert_sent(2)) == 2
    with pytest.raises(AssertionError, match=r"1 wanted, 2 sent \\(any\\)"):
        assert_sent(1)
    with pytest.raises(AssertionError, match=r"at least one wanted, 0 sent \\(subject='x'\\)"):
        assert_sent(subject="x")
    with pytest.raises(TypeError, match="no such field: sender"):
        assert_sent(sender="x")


def test_a_real_server_records(recording_server):
    recording_server.replies = {"full@example.com": ["452 full"]}
    greet()
    assert recording_server.received[0].recipients == ["someone@example.com"]
    assert recording_server.received[0].parsed["Subject"] == "Hello"
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        greet("full@example.com")
    greet("full@example.com")  # the replies are used up
    assert recording_server.received[1].recipients == ["full@example.com"]


def test_the_queue_holds_mail_until_it_is_delivered(mail_queue):
    message = greet()
    assert_queued(1, to="someone", subject="Hello")
    assert mailqueue.outbox == []
    assert mail_queue.fate(message)["state"] == "queued"
    assert mail_queue.deliver() == {"sent": 1}
    assert_sent(1, subject="Hello")
    assert mail_queue.fate(message)["state"] == "sent"
    with pytest.raises(AssertionError, match="at least one wanted, 0 queued"):
        assert_queued()
    greet()  # left behind


def test_mail_is_delivered_in_the_order_in_which_it_was_sent(mail_queue):
    for number in range(20):
        greet(subject=f"{number:02}")
    many = [EmailMessage(f"{n:02}", "", "me@example.com", ["a@example.com"]) for n in range(20, 60)]
    urgent = EmailMessage("urgent", "", "me@example.com", ["a@example.com"])
    urgent.priority = "high"
    assert mailqueue.get_connection().send_messages([*many, urgent]) == 41
    assert mail_queue.deliver() == {"sent": 61}
    subjects = [message.subject for message in mailqueue.outbox]
    assert subjects == ["urgent", *[f"{number:02}" for number in range(60)]]


def test_what_was_delivered_can_be_pickled_and_queued_again(mail_queue):
    greet()
    mail_queue.deliver()
    (message,) = mailqueue.outbox
    assert vars(pickle.loads(pickle.dumps(message))).keys() == vars(message).keys()
    assert not any(callable(value) for value in vars(message).values())
    assert message.send() == 1


def test_the_queue_starts_empty_again(mail_queue):
    assert mail_queue.queued == []
    assert mail_queue.deliver() == {}


def test_what_is_sent_later_waits(mail_queue):
    message = EmailMessage("Hello", "How are you?", "me@example.com", ["you@example.com"])
    message.send_at = "2100-01-01"
    message.send()
    assert [found["state"] for found in mail_queue.queued] == ["scheduled"]
    assert mail_queue.deliver() == {}


def test_settings_are_back(tmp_path):
    assert mailqueue.settings.EMAIL_BACKEND == "mailqueue.backends.smtp.EmailBackend"
    assert mailqueue.settings.MAILQUEUE.BROKER_URL == ""
"""


def run_tests(directory: Path, text: str, **environment: str) -> str:
    """Run a test module as an application would; return what pytest printed, if all passed."""
    (directory / "conftest.py").write_text(CONFTEST)
    (directory / "test_application.py").write_text(text)
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *STRICT, "-p", "no:cacheprovider", directory],
        env={**os.environ, **environment},
        cwd=directory,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_an_applications_tests_run_with_the_fixtures(tmp_path):
    """Outbox, recording server, queue and assertions, each in a fresh state for every test."""
    assert "10 passed" in run_tests(tmp_path, TESTS)


DJANGO_TESTS = """
import django
from django.conf import settings

settings.configure(MAILQUEUE={"QUEUE": "letters"}, EMAIL_BACKEND="nowhere.Backend")
django.setup()

import mailqueue
from django.core.mail import EmailMultiAlternatives
from mailqueue.testing import assert_queued, assert_sent


def test_django_mail_goes_through_the_queue(mail_queue):
    message = EmailMultiAlternatives("Hello", "text", "me@example.com", ["you@example.com"])
    message.attach_alternative("<p>html</p>", "text/html")
    assert message.send() == 1
    assert assert_queued(1)[0]["queue"] == "letters"
    assert mail_queue.deliver() == {"sent": 1}
    (sent,) = assert_sent(1, to="you@")
    assert type(sent) is EmailMultiAlternatives
    assert sent.alternatives[0][0] == "<p>html</p>"


def test_settings_are_back():
    assert settings.EMAIL_BACKEND == "nowhere.Backend"
    assert settings.MAILQUEUE == {"QUEUE": "letters"}
"""


def test_the_fixtures_work_in_a_django_project(tmp_path):
    """They override Django's settings for as long as a test lasts."""
    assert "2 passed" in run_tests(tmp_path, DJANGO_TESTS)


# Has unittest's runner find a module's tests as Django's does.
DJANGO_RUNNER = """
import sys
from django.conf import settings
settings.configure()
import django
django.setup()
from django.test.runner import DiscoverRunner
sys.exit(DiscoverRunner(verbosity=2).run_tests(["documented"]))
"""


def test_the_documented_tests_pass(tmp_path):
    """Those of docs/testing.md: by Django's runner the first, by pytest the others."""
    text = (ROOT / "docs" / "testing.md").read_text("utf-8")
    of_django, conftest, of_pytest = re.findall(r"```py\n(.*?)```", text, re.S)
    (tmp_path / "documented.py").write_text(of_django)
    done = subprocess.run(
        [sys.executable, "-c", DJANGO_RUNNER], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "Ran 1 test" in done.stderr
    assert conftest == CONFTEST
    assert "3 passed" in run_tests(tmp_path, of_pytest)
