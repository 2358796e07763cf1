"""What ``mailqueue`` shows to its users."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import mailqueue

NAMES = {
    *["send_mail", "send_mass_mail", "mail_admins", "mail_managers", "get_connection", "mailers"],
    *["EmailMessage", "EmailMultiAlternatives", "EmailAttachment", "EmailAlternative"],
    *["BadHeaderError", "make_msgid", "DNS_NAME", "configure", "settings", "State"],
    *["InvalidMailer", "MailerDoesNotExist", "Fate", "fate", "fates", "asend"],
}
DOCUMENT = Path(__file__).parents[2] / "docs" / "mail-api.md"


def test_the_names_are_these() -> None:
    """Nothing is exported by accident, and nothing is missing."""
    assert set(mailqueue.__all__) == NAMES
    assert {name for name in NAMES if not hasattr(mailqueue, name)} == set()


def test_the_oldest_name_warns() -> None:
    """SMTPConnection resolves, and is not among the names of a star import."""
    with pytest.warns(DeprecationWarning, match=r"Use get_connection\(\) instead"):
        assert mailqueue.SMTPConnection.__name__ == "EmailBackend"


def test_there_is_no_outbox_until_it_is_needed() -> None:
    """It is the locmem backend's."""
    with pytest.raises(AttributeError, match="outbox"):
        _ = mailqueue.outbox


def test_importing_it_imports_no_engine() -> None:
    """Neither Celery nor Redis nor Django is loaded by composing a message."""
    script = (
        "import sys, mailqueue; mailqueue.EmailMessage('s', 'b').message().as_bytes();"
        "mailqueue.get_connection();"
        "print(sorted({'asyncio', 'celery', 'kombu', 'redis', 'django'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_every_test_that_the_document_names_exists() -> None:
    """docs/mail-api.md says which test shows what; each of them is there."""
    named = set(re.findall(r"`(test_\w+)\.(test_\w+)`", DOCUMENT.read_text()))
    directory = Path(__file__).parents[1] / "mail"
    missing = {
        f"{module}.{test}"
        for module, test in named
        if f"\ndef {test}(" not in (directory / f"{module}.py").read_text()
    }
    assert len(named) > 80
    assert missing == set()
