"""Composing: the message classes of Django's mail API."""

from __future__ import annotations

import email.message
import email.policy
import email.utils
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from email.charset import Charset
from pathlib import Path
from typing import Any, NamedTuple

from mailqueue.conf import settings
from mailqueue.errors import locate

from .address import refuse_line_ends
from .built import BuiltMessage
from .deprecation import accept_positional, warn_caller
from .header import check_part, make_header, quick_policy
from .msgid import make_msgid
from .part import (
    attach_content,
    attach_part,
    attach_version,
    check_content,
    no_attachment,
    outer_parts,
    refuse_old_message,
)
from .routing import get_connection, mailers, refuse_combination
from .text import content_arguments, readable, refuse_no_content, split_type

# The headers that list addresses, by the attributes that they stem from.
ADDRESS_LISTS = {"to": "To", "cc": "Cc", "reply_to": "Reply-To"}
_ATTRIBUTE_HEADERS = {"from", *(header.lower() for header in ADDRESS_LISTS.values())}


class EmailAttachment(NamedTuple):
    """An attachment: the name it has in the mail, its content, its MIME type."""

    filename: str | None
    content: Any
    mimetype: str | None


class EmailAlternative(NamedTuple):
    """Another version of the body."""

    content: Any
    mimetype: str


class EmailMessage:
    """A message to be sent: what the mail says, and to whom it goes.

    All parameters are optional, and all attributes may be set until ``send()``. Raises TypeError
    where a string is given for a list of addresses.
    """

    content_subtype = "plain"
    mixed_subtype = "mixed"
    encoding: str | Charset | None = None  # None: the setting DEFAULT_CHARSET
    mailqueue_id: str  # for `mailqueue.fate()`; there is none until the queue has accepted it

    @accept_positional(
        "bcc", "connection", "attachments", "headers", "cc", "reply_to",
        after=4, name="EmailMessage",
    )  # fmt: skip
    def __init__(
        self,
        subject: Any = "",
        body: Any = "",
        from_email: str | None = None,
        to: Iterable[str] | None = None,
        *,
        bcc: Iterable[str] | None = None,
        connection: Any = None,
        attachments: Iterable[Any] | None = None,
        headers: Mapping[str, Any] | None = None,
        cc: Iterable[str] | None = None,
        reply_to: Iterable[str] | None = None,
    ) -> None:
        self.subject = subject
        self.body = body or ""
        self.from_email = from_email or settings.DEFAULT_FROM_EMAIL
        self.to = _address_list(to, "to")
        self.cc = _address_list(cc, "cc")
        self.bcc = _address_list(bcc, "bcc")
        self.reply_to = _address_list(reply_to, "reply_to")
        if isinstance(attachments, (str, bytes)):
            raise TypeError(f"attachments must be a list of attachments, not {attachments!r:.100}")
        self.attachments: list[Any] = []
        for attachment in attachments or ():
            self._attach_given(attachment)
        self.extra_headers: dict[str, Any] = headers or {}  # type: ignore[assignment]
        self.connection = connection

    def message(
        self, *, policy: email.policy.EmailPolicy[Any] = email.policy.default
    ) -> email.message.EmailMessage:
        """Build the message that will be sent.

        Raises ValueError (BadHeaderError) for a header that has a newline or can't be written.
        """
        if not isinstance(policy, email.policy.EmailPolicy):
            raise TypeError(f"policy must be an email.policy.EmailPolicy, not {policy!r}")
        quick = quick_policy(policy)
        built = BuiltMessage(policy=quick)
        self._add_bodies(built)
        self._add_attachments(built)
        if "MIME-Version" not in built:
            # Nothing but attachments or alternatives: Python sets it with a body only, and without
            # it no reader need look for parts (RFC 2045, 4).
            built["MIME-Version"] = "1.0"
        for name, value in self._headers():
            built[name] = make_header(name, value, quick)
        for part in outer_parts(built):
            check_part(part)
        for part in built.walk():
            part.policy = policy if part.policy is quick else part.policy
        return built

    def recipients(self) -> list[str]:
        """Everyone the message goes to: ``to``, ``cc`` and ``bcc``, without the empty ones."""
        everyone: list[str] = []
        for name in ("to", "cc", "bcc"):
            addresses = getattr(self, name)
            _refuse_string(addresses, name)
            everyone.extend(addresses or ())
        return [address for address in everyone if address]

    def send(self, fail_silently: bool = False, *, using: str | None = None) -> int:
        """Send the message; return 1, or 0 if there is nobody to send it to or it failed silently.

        ``using`` is the alias of a mailer. Raises TypeError for parameters that exclude each other.
        """
        if not self.recipients():
            # Before anything is opened or refused: an empty list of recipients is no error.
            return 0
        refuse_combination(using=using, connection=self.connection, fail_silently=fail_silently)
        with settings.MAILQUEUE.steady():
            return self._backend(fail_silently, using).send_messages([self]) or 0

    def attach(
        self, filename: Any = None, content: Any = None, mimetype: str | None = None
    ) -> None:
        """Attach ``content`` under that name, or a finished ``email.message.MIMEPart``.

        The type is guessed from the name. Binary text that isn't UTF-8 becomes
        ``application/octet-stream``. Raises ValueError or TypeError for what can't be attached.
        """
        if isinstance(filename, email.message.Message):
            self._attach_part(filename, content, mimetype)
            return
        if content is None:
            raise ValueError("content must be provided.")
        content, mimetype = check_content(filename, content, mimetype)
        self.attachments.append(EmailAttachment(filename, content, mimetype))

    def attach_file(self, path: Any, mimetype: str | None = None) -> None:
        """Attach a file under its own name; OSError if it can't be read."""
        path = Path(path)
        self.attach(path.name, path.read_bytes(), mimetype)

    def _backend(self, fail_silently: bool, using: str | None) -> Any:
        if using is not None:
            return mailers[using]
        return self.connection or get_connection(fail_silently=fail_silently)

    def _attach_given(self, attachment: Any) -> None:
        if isinstance(attachment, email.message.Message):
            self.attach(attachment)
        elif isinstance(attachment, (tuple, list)):
            self.attach(*attachment)
        else:
            raise no_attachment(attachment)

    def _attach_part(self, part: Any, content: Any, mimetype: Any) -> None:
        refuse_old_message(part)
        kind = "MIMEPart" if isinstance(part, email.message.MIMEPart) else "MIMEBase"
        if content is not None or mimetype is not None:
            raise ValueError(
                f"content and mimetype must not be given when a {kind} instance is provided."
            )
        if kind == "MIMEBase":
            warn_caller(
                "MIMEBase attachments are deprecated. Use an email.message.MIMEPart instead."
            )
        self.attachments.append(part)

    @property
    def _charset(self) -> str | Charset:
        return self.encoding or settings.DEFAULT_CHARSET

    def _add_bodies(self, built: email.message.EmailMessage) -> None:
        if self.body or not self.attachments:
            self._set_body(built)

    def _set_body(self, built: email.message.EmailMessage) -> None:
        mimetype = f"text/{self.content_subtype}"
        body = self.body or ""
        with _encoding("the body"):
            content, options = content_arguments(body, mimetype, self._charset, built.policy)
            built.set_content(content, **options)

    def _add_attachments(self, built: email.message.EmailMessage) -> None:
        for attachment in self.attachments or ():
            # The list may have been filled by hand, past attach().
            if isinstance(attachment, email.message.Message):
                refuse_old_message(attachment)
                attach_part(built, attachment)
            elif isinstance(attachment, (tuple, list)) and len(attachment) in (2, 3):
                self._add_attachment(built, *attachment)
            else:
                raise no_attachment(attachment)
        if self.attachments:
            _change_subtype(built, "mixed", self.mixed_subtype)

    def _add_attachment(
        self,
        built: email.message.EmailMessage,
        filename: str | None,
        content: Any,
        mimetype: str | None = None,
    ) -> None:
        with _encoding(f"the attachment {filename!r:.100}"):
            attach_content(built, filename, content, mimetype, self._charset)

    def _headers(self) -> Iterator[tuple[str, Any]]:
        """The header fields in their order; ``extra_headers`` take precedence."""
        extra_headers = self.extra_headers or {}
        given = _by_lower_name(extra_headers)
        if "bcc" in given:
            raise ValueError(
                "Bcc is not a valid email header. "
                'Use the "bcc" argument to specify blind carbon copy recipients.'
            )
        yield "Subject", self.subject
        sender = settings.DEFAULT_FROM_EMAIL if self.from_email is None else self.from_email
        yield "From", given.get("from", sender)
        yield from self._address_headers(given)
        if "date" not in given:
            yield "Date", _now()
        if "message-id" not in given:
            yield "Message-ID", make_msgid()
        others = extra_headers.items()
        yield from ((n, v) for n, v in others if n.lower() not in _ATTRIBUTE_HEADERS)

    def _address_headers(self, given: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        for attribute, header in ADDRESS_LISTS.items():
            addresses = getattr(self, attribute)
            _refuse_string(addresses, attribute)
            value = given.get(header.lower(), [address for address in addresses or () if address])
            if value:
                yield header, value
        for address in self.bcc or ():
            # It is in no header, but must be found out here, before anything is sent.
            refuse_line_ends(str(address or ""), "Bcc")


class EmailMultiAlternatives(EmailMessage):
    """A message whose body comes in more than one version, such as text and HTML."""

    alternative_subtype = "alternative"

    @accept_positional(
        "bcc", "connection", "attachments", "headers", "alternatives", "cc", "reply_to",
        after=4, name="EmailMultiAlternatives",
    )  # fmt: skip
    def __init__(
        self,
        subject: Any = "",
        body: Any = "",
        from_email: str | None = None,
        to: Iterable[str] | None = None,
        *,
        bcc: Iterable[str] | None = None,
        connection: Any = None,
        attachments: Iterable[Any] | None = None,
        headers: Mapping[str, Any] | None = None,
        alternatives: Iterable[Sequence[Any]] | None = None,
        cc: Iterable[str] | None = None,
        reply_to: Iterable[str] | None = None,
    ) -> None:
        super().__init__(
            subject, body, from_email, to,
            bcc=bcc, connection=connection, attachments=attachments, headers=headers,
            cc=cc, reply_to=reply_to,
        )  # fmt: skip
        self.alternatives = [EmailAlternative(*given) for given in alternatives or ()]

    def attach_alternative(self, content: Any, mimetype: str) -> None:
        """Add a version of the body; ValueError without content or type."""
        if content is None or mimetype is None:
            raise ValueError("Both content and mimetype must be provided.")
        split_type(mimetype)
        refuse_no_content(content, mimetype)
        self.alternatives.append(EmailAlternative(content, mimetype))

    def body_contains(self, text: str) -> bool:
        """Whether the body and every alternative of a type ``text/*`` contain ``text``."""
        versions = [
            content for content, mimetype in self.alternatives or () if mimetype.startswith("text/")
        ]
        return all(text in readable(version) for version in [self.body or "", *versions])

    def _add_bodies(self, built: email.message.EmailMessage) -> None:
        if self.body or not (self.alternatives or self.attachments):
            self._set_body(built)
        for content, mimetype in self.alternatives or ():
            with _encoding(f"the alternative {mimetype!r:.100}"):
                attach_version(built, content, mimetype, self._charset)
        if self.alternatives:
            _change_subtype(built, "alternative", self.alternative_subtype)


@contextmanager
def _encoding(what: str) -> Iterator[None]:
    """Have the error for a character that can't be written say in what."""
    try:
        yield
    except UnicodeEncodeError as error:
        raise locate(error, what) from None


def _address_list(addresses: Iterable[str] | None, name: str) -> list[str]:
    _refuse_string(addresses, name)
    return list(addresses or ())


def _refuse_string(addresses: object, name: str) -> None:
    # A string would be taken for a list of addresses of one letter each.
    if type(addresses) is list:
        return
    if isinstance(addresses, (str, bytes)) or not isinstance(addresses or (), Iterable):
        raise TypeError(f'"{name}" argument must be a list or tuple')


def _by_lower_name(headers: Mapping[Any, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in headers.items():
        if isinstance(name, bytes) or not hasattr(name, "lower"):  # a lazy text has it
            raise TypeError(f"the name of a header must be a string, not {name!r:.100}")
        lower = name.lower()
        if lower in found and lower in _ATTRIBUTE_HEADERS:
            raise ValueError(f"There may be at most 1 {name} headers in a message")
        found[lower] = value
    return found


def _change_subtype(built: email.message.EmailMessage, usual: str, wanted: str) -> None:
    if wanted != usual:
        built.replace_header("Content-Type", f"multipart/{wanted}")


def _now() -> str:
    now = datetime.now(UTC)
    return email.utils.format_datetime(now.astimezone() if settings.EMAIL_USE_LOCALTIME else now)
