"""The seam between delivery and whatever carries the mail, and the carrier for any backend."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from .outcome import (
    Answer,
    Misconfigured,
    Outcome,
    Reply,
    ServerTrouble,
    StaleClaim,
    Verdict,
    printable,
)
from .rendering import Outgoing


def trouble_of(error: OSError) -> ServerTrouble:
    """What it means that a connection could not be opened, encrypted or logged in."""
    reply = f"can't connect: {error}"
    if isinstance(error, smtplib.SMTPResponseException):
        text = error.smtp_error
        shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        reply = f"{error.smtp_code} {printable(shown)}"
    return Misconfigured(reply) if _is_ours(error) else ServerTrouble(reply)


def _is_ours(error: OSError) -> bool:
    """Whether settings have to be mended: ours, or the server's where it doesn't do as agreed."""
    refused = (smtplib.SMTPAuthenticationError, smtplib.SMTPNotSupportedError)
    # What smtplib raises where server and client have no AUTH mechanism in common.
    no_mechanism = type(error) is smtplib.SMTPException
    return no_mechanism or isinstance(error, (*refused, ssl.SSLCertVerificationError))


class Turn(Protocol):
    """A message's turn on the connection."""

    @property
    def outgoing(self) -> Outgoing:
        """The message."""

    def commit(
        self, count: int = 1, meanwhile: Callable[[], object] | None = None
    ) -> Sequence[bool]:
        """Ask, at the last moment where it can still be stopped, whether it may be sent.

        The same for those after it, ``count`` in all. All results so far are on record then; with
        a count of 0 it does nothing else. ``meanwhile`` is called while the answer travels, and
        once more where the question had to be repeated.
        """

    def ahead(self) -> Turn | None:
        """The turn that comes next, where it may be prepared while this one lasts."""

    def look_further(self) -> None:
        """Ask for more turns; ``collect`` is called before anything that may take long."""

    def collect(self) -> None:
        """Learn which turns there are more."""


class Transport(Protocol):
    """An open connection that messages are delivered over, one after the other."""

    def deliver(self, turn: Turn, *, room: int = 1) -> Outcome:
        """Send one message, the first of ``room`` at most; those after it may be begun already."""

    def has_begun(self, outgoing: Outgoing) -> bool:
        """Whether that message is under way, or its transaction open, with its content to come."""

    def is_ready(self, outgoing: Outgoing) -> bool:
        """Whether that message's commit, or its reply, is what comes first."""

    def is_busy(self) -> bool:
        """Whether messages are under way, so that to close would leave them in doubt."""

    def is_usable(self) -> bool:
        """Whether the connection, after a pause, still is what it was."""

    def close(self) -> None:
        """Take leave of the server."""

    def drop(self) -> None:
        """Close without a word."""


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
        except OSError as error:  # smtplib.SMTPException is one
            raise trouble_of(error) from error

    def deliver(self, turn: Turn, *, room: int = 1) -> Outcome:  # noqa: ARG002
        """Send one message to those of its recipients who are still to get it."""
        if not turn.commit()[0]:
            raise StaleClaim("another worker has taken the message over")
        outgoing = turn.outgoing
        message = outgoing.message
        # Backends ask the message for its recipients; this attempt is for the rest of them only.
        message.recipients = lambda: list(outgoing.recipients)
        try:
            sent = self._backend.send_messages([message])
        except Exception as error:  # noqa: BLE001 - a stranger's backend raises what it likes
            self._failed = True
            return _outcome_of(error, outgoing.recipients)
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

    def close(self) -> None:
        """Close the backend's connection."""
        self._backend.close()

    def drop(self) -> None:
        """Close the backend's connection; there is no other way than politely."""
        self._backend.close()


def _outcome_of(error: Exception, recipients: Sequence[str]) -> Outcome:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return Outcome({a: _refusal(*reply) for a, reply in error.recipients.items()})
    if isinstance(error, smtplib.SMTPResponseException):
        answer = _refusal(error.smtp_code, error.smtp_error)
        return Outcome(dict.fromkeys(recipients, answer))
    return Outcome.for_all(recipients, Verdict.DEFERRED, f"{type(error).__name__}: {error}")


def _refusal(code: int, text: bytes | str) -> Answer:
    shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    reply = Reply(code, shown)
    refused = reply.verdict is Verdict.REFUSED
    return Answer(Verdict.REFUSED if refused else Verdict.DEFERRED, str(reply))
