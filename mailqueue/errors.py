"""The errors that mailqueue raises, in one tree.

::

    MailqueueError
    ├── ImproperlyConfigured            a setting is missing, unknown or wrong
    │   └── InvalidMailer               a mailer's definition is wrong
    │       └── MailerDoesNotExist (KeyError)   no mailer of that alias
    ├── PayloadError (ValueError)       a message can't be carried, or a payload can't be read
    ├── JournalError                    what the journal refuses: no such message, wrong state
    ├── TokenUnavailable (SMTPException) a token for ``EMAIL_OAUTH2`` can't be had
    └── EnqueueError (SMTPException)    ``send()`` could not hand the message to the queue
        ├── JournalUnavailable (ConnectionError)  nothing was accepted
        └── EnqueueUnknown (TimeoutError)         it may have been accepted; ``ids`` tells which

    BadHeaderError (ValueError)         a newline in a header; kept for code that catches it
"""

from __future__ import annotations

from collections.abc import Sequence
from smtplib import SMTPException


class MailqueueError(Exception):
    """Root of the errors that are mailqueue's own."""


class ImproperlyConfigured(MailqueueError):
    """A setting is missing, unknown or has a bad value; the text names it."""


class InvalidMailer(ImproperlyConfigured):
    """An entry of ``MAILERS`` can't be used; ``alias`` is its name."""

    def __init__(self, message: str, *, alias: str | None = None) -> None:
        super().__init__(message)
        self.alias = alias


class MailerDoesNotExist(InvalidMailer, KeyError):
    """No entry of ``MAILERS`` has that alias."""

    def __str__(self) -> str:
        # KeyError would show the repr of its argument, quotes and all.
        return str(self.args[0]) if self.args else ""


class BadHeaderError(ValueError):
    """A header or an address holds a newline. Django raises a plain ValueError since 6.0."""


class PayloadError(MailqueueError, ValueError):
    """A message can't be turned into a payload, or a payload into a message."""


class JournalError(MailqueueError):
    """The journal refused: an unknown id, or a state that doesn't allow the step."""


class TokenUnavailable(MailqueueError, SMTPException):
    """A login by OAuth2 lacks its token; the text says for whom, from where, and why.

    It is an ``SMTPException``, because that is what a mail server that can't be used raises.
    """


class EnqueueError(MailqueueError, SMTPException):
    """The queue could not take the message.

    It is an ``SMTPException`` (hence an ``OSError``), because Django documents that as what
    ``send_mail`` raises, and code that changes nothing but ``EMAIL_BACKEND`` catches it.

    ``ids`` are the ids of the messages concerned. ``accepted`` holds the ids of those that the same
    call had accepted before, in the order of the messages, and ``count`` is how many there were.
    Sending the same unchanged objects again makes no second message of any of them.
    """

    def __init__(self, message: str, ids: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.ids = tuple(ids)
        self.accepted: tuple[str, ...] = ()
        self.count = 0


class JournalUnavailable(EnqueueError, ConnectionError):
    """The journal could not be reached or refused to write: nothing was accepted."""


class EnqueueUnknown(EnqueueError, TimeoutError):
    """The journal did not answer in time: the messages may or may not have been accepted."""


def locate(error: UnicodeEncodeError, what: str) -> UnicodeEncodeError:
    """The error for a character that can't be written, which also says in what."""
    reason = f"{error.reason} (in {what})"
    return UnicodeEncodeError(error.encoding, error.object, error.start, error.end, reason)
