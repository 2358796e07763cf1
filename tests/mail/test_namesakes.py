"""Our errors in a Django project are Django's of the same name: each case in its own process."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support import STRICT

# What a project has written for years, as Django's page "Sending email" shows it.
VIEW = """
from django.conf import settings
settings.configure(
    EMAIL_BACKEND="mailqueue.backends.queue.EmailBackend",
    MAILQUEUE={"BROKER_URL": "redis://127.0.0.1:1/0"},
)
from django.core.mail import send_mail
from django.core.mail.message import BadHeaderError
try:
    send_mail("Hello", "Body", "me\\n@example.com", ["bob@example.com"])
except BadHeaderError:
    print("Invalid header found.")
"""
OURS = """
import mailqueue
try:
    mailqueue.send_mail("Bob\\nBcc: eve@example.com", "", None, ["bob@example.com"])
except BadHeaderError:
    print("Invalid header found.")
"""
MAILERS = """
import mailqueue.errors
from django.conf import settings
from django.core import mail
if not hasattr(mail, "InvalidMailer"):  # before Django 6.1
    mail = mailqueue.errors
from mailqueue.backends.dummy import EmailBackend
from mailqueue.mail.routing import mailers
settings.configure(MAILERS={"typo": {"BACKEND": "nowhere.Backend"}})
for find, kind in (
    (lambda: mailers["typo"], mail.InvalidMailer),
    (lambda: mailers["nobody"], mail.MailerDoesNotExist),
    (lambda: EmailBackend(alias="typo", hots=1), mail.InvalidMailer),
):
    try:
        find()
    except kind as error:
        print(type(error).__module__, error)
"""
SETTING = """
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
settings.configure(MAILQUEUE={"LEASE": "soon"})
from mailqueue.conf import settings
try:
    settings.MAILQUEUE.LEASE
except ImproperlyConfigured as error:
    print(type(error).__module__)
"""


def output_of(program: str) -> list[str]:
    """What the program prints; an error or a warning fails."""
    done = subprocess.run(
        [sys.executable, *STRICT, "-c", program], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize("first", ["", "import mailqueue.backends.queue\n"], ids=["django", "ours"])
def test_a_bad_header_is_caught_as_djangos_page_says(first: str) -> None:
    """``except BadHeaderError`` catches what the queue raises, whichever was imported first."""
    assert output_of(first + VIEW) == ["Invalid header found."]
    assert output_of(first + VIEW + OURS) == ["Invalid header found."] * 2


def test_a_wrong_setting_is_djangos_improperly_configured() -> None:
    """What the settings raise is what a Django project expects of wrong settings."""
    assert output_of(SETTING) == ["mailqueue.errors"]


def test_a_wrong_mailer_is_djangos_invalid_mailer() -> None:
    """Both errors about mailers are caught by Django's names, and keep their texts."""
    typo, nobody, option = output_of(MAILERS)
    assert typo.startswith("mailqueue.errors MAILERS['typo']: Could not find BACKEND")
    assert nobody == "mailqueue.errors The mailer 'nobody' is not configured."
    assert option == "mailqueue.errors MAILERS['typo']: Unknown options 'hots'."


def test_an_error_does_not_import_django() -> None:
    """A program that doesn't use Django raises our errors without importing it."""
    program = """
import sys
from mailqueue import BadHeaderError, send_mail
try:
    send_mail("Bob\\nBcc: eve@example.com", "", None, ["bob@example.com"])
except BadHeaderError:
    print("django" in sys.modules)
"""
    program = (
        "import mailqueue\n"
        "mailqueue.configure(EMAIL_BACKEND='mailqueue.backends.locmem.EmailBackend')" + program
    )
    assert output_of(program) == ["False"]
