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

In a Django project those that have a namesake in Django are that as well, so that
``except django.core.mail.BadHeaderError`` catches ours.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from smtplib import SMTPException
from typing import Any, ClassVar, Self


class MailqueueError(Exception):
    """Root of the errors that are mailqueue's own."""


class _Namesake(Exception):
    """An error that is Django's of the same name as well, once that has been imported.

    Only a process that has imported an error can catch it. So Django is looked for when an error
    is raised, and never imported: it costs nothing where it isn't used, and may come later.
    """

    _home: ClassVar[str]  # Django's module that has the namesake

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        join_django()
        return super().__new__(cls, *args, **kwargs)


class ImproperlyConfigured(_Namesake, MailqueueError):
    """A setting is missing, unknown or has a bad value; the text names it."""

    _home = "django.core.exceptions"


class InvalidMailer(ImproperlyConfigured):
    """An entry of ``MAILERS`` can't be used; ``alias`` is its name, with which the text begins."""

    _home = "django.core.mail.exceptions"

    def __init__(self, message: str, *, alias: str | None = None) -> None:
        text = message if alias is None else f"MAILERS[{alias!r}]: {message}"
        # Past Django's constructors, which differ.
        Exception.__init__(self, text)
        self.alias = alias


class MailerDoesNotExist(InvalidMailer, KeyError):
    """No entry of ``MAILERS`` has that alias."""

    def __init__(self, *, alias: str | None) -> None:
        super().__init__(f"The mailer {alias!r} is not configured.")
        self.alias = alias

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), alias=self.alias), ()

    def __str__(self) -> str:
        # KeyError would show the repr of its argument, quotes and all.
        return str(self.args[0]) if self.args else ""


class BadHeaderError(_Namesake, ValueError):
    """A header or an address holds a newline. Django raises a plain ValueError since 6.0."""

    _home = "django.core.mail.message"


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


def join_django() -> None:
    """Make the errors that have a namesake in Django that as well, if Django has been imported."""
    for kind in (ImproperlyConfigured, InvalidMailer, MailerDoesNotExist, BadHeaderError):
        theirs = getattr(sys.modules.get(kind._home), kind.__name__, None)
        bases = kind.__bases__
        if isinstance(theirs, type) and not issubclass(kind, theirs):
            # Before what is built in, such as ValueError, of which Django's is one too.
            kind.__bases__ = (bases[0], theirs, *bases[1:])


join_django()


def locate(error: UnicodeEncodeError, what: str) -> UnicodeEncodeError:
    """The error for a character that can't be written, which also says in what."""
    reason = f"{error.reason} (in {what})"
    return UnicodeEncodeError(error.encoding, error.object, error.start, error.end, reason)
