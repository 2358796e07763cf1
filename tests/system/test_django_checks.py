"""The system checks of the Django app, each case in a process with settings of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
QUEUE = "mailqueue.backends.queue.EmailBackend"
SMTP = "mailqueue.backends.smtp.EmailBackend"
CONSOLE = "django.core.mail.backends.console.EmailBackend"
Check = Callable[..., list[list[str]]]
PROGRAM = """
import json, os, sys
import django
import mailqueue.contrib.django.checks
from django.conf import settings
from django.core.checks import run_checks

for line in sys.stdin:
    environment, values = json.loads(line)
    if os.fork() == 0:
        os.environ.clear()
        os.environ.update(environment)
        settings.configure(INSTALLED_APPS=["mailqueue.contrib.django"], **values)
        django.setup()
        found = [(message.id, message.msg, message.hint) for message in run_checks()]
        print(json.dumps([one for one in found if one[0].startswith("mailqueue.")]), flush=True)
        os._exit(0)
    if os.wait()[1]:
        sys.exit("the checks could not be run")
"""


@pytest.fixture(scope="module")
def process() -> Iterator[subprocess.Popen[str]]:
    """A program that has imported Django, and forks for each of the checks: that takes a tenth."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as started:
        yield started


@pytest.fixture
def check(process: subprocess.Popen[str]) -> Check:
    """Run the checks under these Django settings: id, text and hint of what they find."""

    def run(environment: dict[str, str] | None = None, **values: object) -> list[list[str]]:
        request = [{**os.environ, **(environment or {})}, {"DEBUG": True} | values]
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    return run


def test_good_settings_pass(check):
    """A project that queues by EMAIL_BACKEND and names its broker has nothing to hear."""
    values = {"EMAIL_BACKEND": QUEUE, "MAILQUEUE": {"BROKER_URL": "redis://127.0.0.1:6379/0"}}
    assert check(DEBUG=False, **values) == []


def test_every_bad_setting_is_named(check):
    """Each setting that can't be read is an error of its own, wherever it comes from."""
    found = check({"MAILQUEUE_RETRY": "soon"}, EMAIL_PORT="smtp", MAILQUEUE={"LEASE": 0})
    assert {id_ for id_, _, _ in found} == {"mailqueue.E001"}
    texts = sorted(text for _, text, _ in found)
    names = ["EMAIL_PORT", "MAILQUEUE['LEASE']", "MAILQUEUE['RETRY']"]
    assert [text.partition(" = ")[0] for text in texts] == names
    assert all(hint for _, _, hint in found)


def test_unknown_key_is_named_once(check):
    """A typing error in a key is one error, which lists the keys there are."""
    ((id_, text, _),) = check(MAILQUEUE={"BROKER": "redis://127.0.0.1/0"})
    assert id_ == "mailqueue.E001"
    assert "'BROKER'" in text
    assert "BROKER_URL" in text


def test_secret_is_not_shown(check):
    """A bad value that may hold a password isn't repeated."""
    ((_, text, _),) = check(EMAIL_HOST_PASSWORD=12345)
    assert "EMAIL_HOST_PASSWORD" in text
    assert "12345" not in text


@pytest.mark.parametrize(
    "values",
    [
        {"MAILQUEUE": {"BACKEND": QUEUE}},
        {"MAILQUEUE": {"USING": "default"}, "EMAIL_BACKEND": QUEUE},
        {"MAILQUEUE": {"USING": "bulk"}, "MAILERS": {"bulk": {"BACKEND": QUEUE}}},
    ],
    ids=["backend", "default mailer", "mailer"],
)
def test_queue_that_delivers_into_itself_is_an_error(values, check):
    """The backend that delivers can't be the queue backend, by whichever setting it is named."""
    ((id_, text, hint),) = check(**values)
    assert id_ == "mailqueue.E002"
    assert "leads back to the queue" in text
    assert SMTP in hint


@pytest.mark.parametrize(
    ("source", "path", "meant"),
    [
        ("EMAIL_BACKEND", "mailqueue.backends.que.EmailBackend", QUEUE),
        ("EMAIL_BACKEND", "mailqueue.backends.queue.Email", QUEUE),
        ("EMAIL_BACKEND", "EmailBackend", ""),
        ("MAILERS['news']", "mailqueue.backend.smtp.EmailBackend", SMTP),
    ],
)
def test_a_backend_that_is_not_there_is_an_error(source, path, meant, check):
    """It would stop the first message, and nothing before."""
    mailer = {"MAILERS": {"news": {"BACKEND": path}}}
    ((id_, text, hint),) = check(**({source: path} if source == "EMAIL_BACKEND" else mailer))
    assert id_ == "mailqueue.E007"
    assert text.startswith(f"{source} leads to the backend {path!r}")
    assert (f" Is {meant} meant?" in hint) == bool(meant)


@pytest.mark.parametrize(
    "values",
    [
        {"MAILQUEUE": {"BACKEND": "nowhere.EmailBackend"}},
        {"MAILQUEUE": {"USING": "bulk"}},
        {"MAILQUEUE": {"USING": "bulk"}, "MAILERS": {"bulk": {"BACKEND": "nowhere.Backend"}}},
    ],
    ids=["backend", "no such mailer", "mailer"],
)
def test_missing_delivery_backend_is_an_error(values, check):
    """A backend or mailer that isn't there is found at start-up, not by the first message."""
    ((id_, text, _),) = check(**values)
    assert id_ == "mailqueue.E003"
    assert text.startswith("MAILQUEUE[")


def test_mailer_that_sends_is_fine(check):
    """A mailer whose backend sends, or that names none and so means SMTP, may deliver."""
    mailers = {"default": {"BACKEND": QUEUE}, "smtp": {}, "own": {"BACKEND": SMTP}}
    assert check(MAILQUEUE={"USING": "smtp"}, MAILERS=mailers) == []
    assert check(MAILQUEUE={"USING": "own"}, MAILERS=mailers) == []


def test_mailers_without_one_that_delivers_are_a_warning(check):
    """Beside MAILERS, EMAIL_HOST is a default that nobody chose: the mailer must be named."""
    ((id_, text, hint),) = check(MAILERS={"default": {"BACKEND": QUEUE}, "smtp": {}})
    assert id_ == "mailqueue.W002"
    assert "localhost:25" in text
    assert "USING" in hint


def test_mailers_of_a_project_that_does_not_queue_are_fine(check):
    """As in a new project of Django 6.1, whose mail goes to the console."""
    assert check(MAILERS={"default": {"BACKEND": CONSOLE}}) == []


def test_celery_app_that_is_not_there_is_an_error(check):
    """CELERY_APP must lead to a Celery application."""
    options = {"CELERY_APP": "nowhere:app", "JOURNAL_URL": "redis://127.0.0.1/0"}
    ((id_, text, _),) = check(MAILQUEUE=options)
    assert id_ == "mailqueue.E004"
    assert "nowhere" in text


OFFICE = {"host": "x", "username": "ann", "oauth2": "tests.oauth2.functions.with_options"}
PATHS = {
    "EMAIL_OAUTH2": OFFICE["oauth2"],
    "EMAIL_OAUTH2_OPTIONS": {"key": "s3cret"},
    "EMAIL_HOST_USER": "ann",
}


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        (PATHS, None),
        (PATHS | {"EMAIL_BACKEND": "django.core.mail.backends.locmem.EmailBackend"}, None),
        (PATHS | {"EMAIL_HOST_USER": ""}, "EMAIL_HOST_USER"),
        (PATHS | {"EMAIL_OAUTH2_OPTIONS": {"kye": "s3cret"}}, "'kye'"),
        (PATHS | {"EMAIL_OAUTH2": "no.such.function"}, "no.such.function"),
        (PATHS | {"EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend"}, "django.core"),
        (
            PATHS | {"MAILQUEUE": {"BACKEND": "django.core.mail.backends.smtp.EmailBackend"}},
            "django.core",
        ),
        (
            {
                "MAILERS": {"office": {"BACKEND": SMTP, "OPTIONS": OFFICE}},
                "MAILQUEUE": {"USING": "office"},
            },
            "MAILERS['office']: OPTIONS['oauth2_options']",
        ),
        (
            {
                "MAILERS": {"office": {"BACKEND": SMTP, "OPTIONS": {"host": "x"}}},
                "MAILQUEUE": {"USING": "office"},
                "EMAIL_OAUTH2": OFFICE["oauth2"],
            },
            "the mailer 'office' of MAILERS doesn't read it",
        ),
    ],
)
def test_a_login_by_oauth2_that_can_not_be_done_is_an_error(values, wrong, check):
    """The function, its options and the backend are looked at, and no value is shown."""
    # Django 6.1 has no EMAIL_BACKEND beside MAILERS.
    others = {} if "MAILERS" in values else {"EMAIL_BACKEND": QUEUE}
    found = check(**(others | values))
    assert [id_ for id_, _, _ in found] == (["mailqueue.E006"] if wrong else [])
    assert wrong is None or wrong in found[0][1]
    assert "s3cret" not in json.dumps(found)


@pytest.mark.parametrize(
    "options",
    [{"CELERY_APP": "workers:app"}, {"BROKER_URL": "amqp://127.0.0.1"}],
    ids=["application", "broker"],
)
def test_missing_journal_is_an_error(options, check):
    """Where the broker can't hold the journal, JOURNAL_URL must be set."""
    ((id_, text, _),) = check(MAILQUEUE=options)
    assert id_ == "mailqueue.E005"
    assert "JOURNAL_URL" in text


@pytest.mark.parametrize(
    ("values", "warned"),
    [
        ({"EMAIL_BACKEND": QUEUE}, True),
        (
            {
                "MAILERS": {"default": {}, "bulk": {"BACKEND": QUEUE}},
                "MAILQUEUE": {"USING": "default"},
            },
            True,
        ),
        ({"EMAIL_BACKEND": QUEUE, "DEBUG": True}, False),
        ({"EMAIL_BACKEND": "django.core.mail.backends.locmem.EmailBackend"}, False),
    ],
    ids=["queue", "mailer", "debug", "no queue"],
)
def test_embedded_server_in_production_is_a_warning(values, warned, check):
    """With DEBUG off, mail shouldn't be queued into the working directory's private server."""
    found = check(**({"DEBUG": False} | values))
    assert [id_ for id_, _, _ in found] == (["mailqueue.W001"] if warned else [])
