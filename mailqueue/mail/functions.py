"""The functions of Django's mail API: one message, many, and those to the people of the site."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from mailqueue.conf import settings
from mailqueue.errors import ImproperlyConfigured

from .deprecation import accept_positional, warn_caller
from .message import EmailMessage, EmailMultiAlternatives
from .routing import get_connection, mailers, refuse_combination


@accept_positional(
    "fail_silently", "auth_user", "auth_password", "connection", "html_message", after=4
)
def send_mail(
    subject: Any,
    message: Any,
    from_email: str | None,
    recipient_list: Iterable[str],
    *,
    fail_silently: bool = False,
    auth_user: str | None = None,
    auth_password: str | None = None,
    connection: Any = None,
    html_message: Any = None,
    using: str | None = None,
) -> int:
    """Send one message to all of ``recipient_list``; return the number of messages sent, 0 or 1.

    Raises ``smtplib.SMTPException`` or another OSError unless ``fail_silently``, ValueError for a
    newline in a header, TypeError for arguments that exclude each other.
    """
    backend = _backend(
        using=using,
        connection=connection,
        fail_silently=fail_silently,
        auth_user=auth_user,
        auth_password=auth_password,
    )
    mail = EmailMultiAlternatives(subject, message, from_email, recipient_list, connection=backend)
    if html_message:
        mail.attach_alternative(html_message, "text/html")
    return mail.send()


@accept_positional("fail_silently", "auth_user", "auth_password", "connection", after=1)
def send_mass_mail(
    datatuple: Iterable[tuple[Any, Any, str | None, Iterable[str]]],
    *,
    fail_silently: bool = False,
    auth_user: str | None = None,
    auth_password: str | None = None,
    connection: Any = None,
    using: str | None = None,
) -> int:
    """Send a message for each ``(subject, message, from_email, recipient_list)``.

    They go over one connection. Returns the number of messages sent.
    """
    backend = _backend(
        using=using,
        connection=connection,
        fail_silently=fail_silently,
        auth_user=auth_user,
        auth_password=auth_password,
    )
    messages = [
        EmailMessage(subject, message, sender, recipients, connection=backend)
        for subject, message, sender, recipients in datatuple
    ]
    return backend.send_messages(messages) or 0


@accept_positional("fail_silently", "connection", "html_message", after=2)
def mail_admins(
    subject: Any,
    message: Any,
    *,
    fail_silently: bool = False,
    connection: Any = None,
    html_message: Any = None,
    using: str | None = None,
) -> None:
    """Send a message to the addresses of the setting ``ADMINS``, from ``SERVER_EMAIL``."""
    # Even if there is nobody to write to: then send() refuses nothing.
    refuse_combination(using=using, connection=connection, fail_silently=fail_silently)
    mail = _mail_to_people("ADMINS", settings.ADMINS, subject, message, html_message)
    mail.connection = connection
    mail.send(fail_silently, using=using)


@accept_positional("fail_silently", "connection", "html_message", after=2)
def mail_managers(
    subject: Any,
    message: Any,
    *,
    fail_silently: bool = False,
    connection: Any = None,
    html_message: Any = None,
    using: str | None = None,
) -> None:
    """Send a message to the addresses of the setting ``MANAGERS``, from ``SERVER_EMAIL``."""
    refuse_combination(using=using, connection=connection, fail_silently=fail_silently)
    mail = _mail_to_people("MANAGERS", settings.MANAGERS, subject, message, html_message)
    mail.connection = connection
    mail.send(fail_silently, using=using)


def _backend(
    *,
    using: str | None,
    connection: Any,
    fail_silently: bool,
    auth_user: str | None,
    auth_password: str | None,
) -> Any:
    refuse_combination(
        using=using,
        connection=connection,
        fail_silently=fail_silently,
        auth_user=auth_user,
        auth_password=auth_password,
    )
    if using is not None:
        return mailers[using]
    login = {"username": auth_user, "password": auth_password}
    given = {name: value for name, value in login.items() if value is not None}
    return connection or get_connection(fail_silently=fail_silently, **given)


def _mail_to_people(
    setting: str, people: Sequence[Any], subject: Any, message: Any, html: Any
) -> EmailMultiAlternatives:
    mail = EmailMultiAlternatives(
        f"{settings.EMAIL_SUBJECT_PREFIX}{subject}",
        message,
        settings.SERVER_EMAIL,
        _addresses(setting, people),
    )
    if html:
        mail.attach_alternative(html, "text/html")
    return mail


def _addresses(setting: str, people: Sequence[Any]) -> list[str]:
    if people and all(_is_pair(person) for person in people):
        warn_caller(
            f"Using (name, address) pairs in the {setting} setting is deprecated. "
            "Replace with a list of email address strings."
        )
        people = [address for _, address in people]
    return [_address(setting, person) for person in people]


def _is_pair(person: object) -> bool:
    return isinstance(person, (tuple, list)) and len(person) == 2


def _address(setting: str, person: Any) -> str:
    if isinstance(person, (bytes, tuple, list, dict, int)) or person is None:
        raise ImproperlyConfigured(
            f"The {setting} setting must be a list of email address strings. "
            f"One of them is {person!r}"
        )
    return str(person)
