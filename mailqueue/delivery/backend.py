"""Any Django-style backend as the carrier."""

from __future__ import annotations

import logging
import smtplib
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from email.utils import parseaddr
from typing import Any

from mailqueue.errors import TokenUnavailable
from mailqueue.mail.address import envelope_address
from mailqueue.queue.handover import for_backend

from .envelope import Outgoing
from .outcome import Answer, Outcome, Reply, Verdict
from .refusal import advice
from .transport import Turn
from .trouble import (
    LOGIN_WANTED,
    Misconfigured,
    ServerTrouble,
    StaleClaim,
    as_text,
    describe,
    trouble_of,
)

_log = logging.getLogger(__name__)
# What smtplib raises before any message is under way.
_IN_OPENING = (
    smtplib.SMTPConnectError,
    smtplib.SMTPHeloError,
    smtplib.SMTPAuthenticationError,
    TokenUnavailable,
)
_BY_ENVELOPE = (smtplib.SMTPSenderRefused, smtplib.SMTPRecipientsRefused)
_SERVICE_NOT_AVAILABLE = 421  # RFC 5321 3.8: about the server, whatever the command was
# smtplib's own words, as a 500, for a reply that it doesn't read; a server's are bytes.
_UNREAD = "Line too long."
# A backend that raises this may have served those whom it doesn't name.
_NOT_NAMED = Answer(Verdict.IN_DOUBT, "others were refused, and nothing was said of this one")


class BackendTransport:
    """Any Django-style backend as the carrier, with the guarantees that its exceptions allow.

    A backend says of a message only that it was sent, or raises. What an exception doesn't say is
    read as a refusal for now.
    """

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self._failed = False
        self._name = f"{type(backend).__module__}.{type(backend).__qualname__}"
        try:
            backend.open()
        except BaseException as error:
            self.close()  # it may be open by half, as where the login was refused
            if isinstance(error, OSError):  # smtplib.SMTPException is one
                raise trouble_of(error) from error
            raise

    def deliver(self, turn: Turn, *, room: int = 1) -> Outcome:  # noqa: ARG002
        """Send one message to those of its recipients who are still to get it.

        Raises ServerTrouble where what the backend raises speaks of the server or the settings,
        and nobody can have got the message. A backend with several servers may have served some
        recipients before one is in trouble: an attempt is charged, so that copies come to an end.
        """
        outgoing = turn.outgoing
        message = for_backend(outgoing.message, self._backend)
        if not turn.commit()[0]:
            raise StaleClaim("another worker has taken the message over")
        # Backends ask the message for its recipients; this attempt is for the rest of them only.
        message.recipients = lambda: list(outgoing.recipients)
        try:
            sent = self._backend.send_messages([message])
        except Exception as error:
            self._failed = True
            trouble = _trouble_in(error)
            if trouble is not None and self._has_one_server(outgoing.recipients):
                raise trouble from error
            one = self._has_one_server(outgoing.recipients)
            return replace(_outcome_of(error, outgoing.recipients), is_whole=one)
        if sent:
            return Outcome.for_all(outgoing.recipients, Verdict.ACCEPTED, f"sent by {self._name}")
        reason = f"{self._name} reported nothing as sent"
        return Outcome.for_all(outgoing.recipients, Verdict.DEFERRED, reason)

    def has_begun(self, outgoing: Outgoing) -> bool:  # noqa: ARG002
        """Never: a backend sends whole messages."""
        return False

    def is_ready(self, outgoing: Outgoing) -> bool:  # noqa: ARG002
        """Never: nothing is known of how long a backend takes to begin."""
        return False

    def is_busy(self) -> bool:
        """Never: each message is answered before its turn ends."""
        return False

    def is_usable(self) -> bool:
        """Whether it has raised nothing; what its connection is worth after that, nobody knows."""
        return not self._failed

    @property
    def is_encrypted(self) -> bool:
        """Whether it is known to be."""
        connection = getattr(self._backend, "connection", None)
        return isinstance(getattr(connection, "sock", None), ssl.SSLSocket)

    def forgo_chunks(self) -> None:
        """Nothing to do: no backend sends by BDAT."""

    def _has_one_server(self, recipients: Sequence[str]) -> bool:
        connection = getattr(self._backend, "connection", None)
        return len(recipients) == 1 or isinstance(connection, smtplib.SMTP)

    def close(self) -> None:
        """Close the backend's connection; what it raises then concerns no message."""
        try:
            self._backend.close()
        except Exception as error:  # noqa: BLE001 - a stranger's backend raises what it likes
            _log.warning("%s can't be closed: %s", self._name, _type_and_text(error))

    def drop(self) -> None:
        """Close the backend's connection; there is no other way than politely."""
        self.close()


def _trouble_in(error: Exception) -> ServerTrouble | None:
    """What the exception says of the server or our settings, where it isn't about the message."""
    if isinstance(error, _IN_OPENING):
        return trouble_of(error)
    for code, text in _replies_in(error).values():
        if code == _SERVICE_NOT_AVAILABLE:
            return ServerTrouble(_refusal(code, text).reply)
        if code in LOGIN_WANTED and isinstance(error, smtplib.SMTPSenderRefused):
            return Misconfigured(advice(_refusal(code, text).reply))
    return None


def _outcome_of(error: Exception, recipients: Sequence[str]) -> Outcome:
    replies = _replies_in(error)
    if not replies:
        return Outcome.for_all(recipients, Verdict.DEFERRED, _type_and_text(error))
    answers = {address: _refusal(*reply) for address, reply in replies.items()}
    others = answers.get("", _NOT_NAMED)
    if len(recipients) == len(answers) == 1:
        (others,) = answers.values()  # about whom else, however it spells the address
    by_recipient = {address: answers.get(_bare(address), others) for address in recipients}
    return Outcome(by_recipient, turned_away=isinstance(error, _BY_ENVELOPE))


def _replies_in(error: Exception) -> Mapping[str, tuple[int, bytes | str]]:
    """The replies that the exception names, by the address that each is about; '' is for all."""
    # Others than smtplib raise these too, and put anything into them.
    with suppress(AttributeError, TypeError, ValueError):
        if isinstance(error, smtplib.SMTPRecipientsRefused):
            # As RCPT had them, without the names that stand in the message.
            return {_bare(a): (int(code), text) for a, (code, text) in error.recipients.items()}
        if isinstance(error, smtplib.SMTPResponseException) and error.smtp_error != _UNREAD:
            return {"": (int(error.smtp_code), error.smtp_error)}
    return {}


def _bare(address: str) -> str:
    """The mailbox alone; also of a name that was folded, as Django folds long ones."""
    try:
        return envelope_address(parseaddr(address)[1] or address)
    except ValueError:
        return address


def _type_and_text(error: Exception) -> str:
    return f"{type(error).__name__}: {describe(error)}"


def _refusal(code: int, text: bytes | str) -> Answer:
    reply = Reply(code, as_text(text))
    refused = reply.verdict is Verdict.REFUSED
    return Answer(Verdict.REFUSED if refused else Verdict.DEFERRED, str(reply))
