"""What a program may catch that knows nothing of mailqueue's own errors."""

from smtplib import SMTPException

import pytest

from mailqueue import errors


@pytest.mark.parametrize(
    ("error", "known"),
    [
        (errors.EnqueueError, SMTPException),  # hence OSError, as Django documents of send_mail()
        (errors.JournalUnavailable, ConnectionError),
        (errors.EnqueueUnknown, TimeoutError),
        (errors.PayloadError, ValueError),
        (errors.BadHeaderError, ValueError),
        (errors.MailerDoesNotExist, KeyError),
    ],
)
def test_an_error_is_also_what_a_stranger_would_catch(error, known):
    """Code that changes nothing but EMAIL_BACKEND goes on handling what goes wrong."""
    assert issubclass(error, known)


@pytest.mark.parametrize("error", [errors.JournalUnavailable, errors.EnqueueUnknown])
def test_what_was_not_queued_is_caught_as_one(error):
    """Both ends of a send() that failed are errors of the mail server to the program."""
    assert issubclass(error, (errors.EnqueueError, SMTPException))
    assert error("text", ["an-id"]).ids == ("an-id",)
