"""The queue's SMTP client: ``smtplib`` connects, and a message loop of our own sends.

``smtplib.SMTP.sendmail`` raises one exception for a whole message, forgets which recipients were
accepted, and can't tell a connection that was lost before the final dot from one lost after it. A
queue lives on these differences.
"""

from __future__ import annotations

import select
import smtplib
import socket
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum

from .backends.smtp import EmailBackend
from .errors import MailqueueError
from .outcome import Answer, Outcome, Reply, ServerTrouble, StaleClaim, Verdict
from .rendering import Envelope, Outgoing, render
from .transport import trouble_of

_SERVICE_NOT_AVAILABLE = 421  # RFC 5321 3.8: the server closes, whatever the command was
_CONNECTION_ERRORS = (OSError, smtplib.SMTPException)


class Phase(StrEnum):
    """How far a transaction has come."""

    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    BODY = "message body"
    DOT = "final dot"
    RSET = "RSET"


# Seconds, by RFC 5321 4.5.3.2.
_PHASE_TIMEOUTS: Mapping[Phase, float] = {
    Phase.MAIL: 300,
    Phase.RCPT: 300,
    Phase.DATA: 120,
    Phase.BODY: 180,
    Phase.DOT: 600,
    Phase.RSET: 300,
}


class SmtpTransport:
    """One open SMTP connection, and the transactions over it.

    ``timeout`` (seconds) shortens the time-outs of RFC 5321 for all phases but the final reply:
    giving up on that one early would only make more messages uncertain. ``to_open``
    (seconds) bounds each step of opening.
    """

    def __init__(
        self, backend: EmailBackend, timeout: float | None = None, to_open: float = 300
    ) -> None:
        self._timeout = timeout
        if backend.timeout is None or backend.timeout > to_open:
            backend.timeout = to_open
        try:
            backend.open()
        except OSError as error:  # smtplib.SMTPException and ssl.SSLError are
            raise trouble_of(error) from error
        self._backend = backend
        self._smtp: smtplib.SMTP = backend.connection
        # The dot is a small write after another that isn't acknowledged yet: Nagle's algorithm and
        # the peer's delayed acknowledgement would hold it back for 40 ms, with every message.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        """Say QUIT and close."""
        self._backend.close()

    def drop(self) -> None:
        """Close without a word: what the peer would answer can't be trusted any more."""
        self._smtp.close()
        self._backend.connection = None

    def is_usable(self) -> bool:
        """Whether the server has neither closed the idle connection nor said anything unasked."""
        if self._smtp.sock is None:
            return False
        readable, _, _ = select.select([self._smtp.sock], [], [], 0)
        return not readable

    def deliver(self, outgoing: Outgoing, commit: Callable[[], bool]) -> Outcome:
        """Send one message; ``commit`` is asked just before the final dot.

        Raises ServerTrouble where the fault is the server's or the connection's and the message
        was surely not accepted, StaleClaim where ``commit`` said no. After any exception, ``drop``
        the transport.
        """
        envelope = render(outgoing, seven_bit=not self._smtp.has_extn("8bitmime"))
        reason = self._obstacle(envelope)
        if reason is not None:
            return Outcome.for_all(outgoing.recipients, Verdict.REFUSED, reason)
        try:
            outcome = self._transact(envelope, commit)
        except MailqueueError:
            raise  # some of them are OSErrors too, but none of them speaks of this connection
        except _CONNECTION_ERRORS as error:
            raise ServerTrouble(f"connection lost: {error}") from error
        return Outcome(
            {
                spelling: answer
                for address, answer in outcome.answers.items()
                for spelling in envelope.spellings[address]
            }
        )

    def _obstacle(self, envelope: Envelope) -> str | None:
        """Why this server can't take that message, known before MAIL."""
        limit = self._smtp.esmtp_features.get("size", "").split(" ")[0]
        if limit.isdecimal() and 0 < int(limit) < len(envelope.data):
            return (
                f"552 the message has {len(envelope.data)} bytes, the server takes at most {limit}"
            )
        if envelope.needs_smtputf8 and not self._smtp.has_extn("smtputf8"):
            return "553 an address is not ASCII, and the server does not offer SMTPUTF8"
        return None

    def _transact(self, envelope: Envelope, commit: Callable[[], bool]) -> Outcome:
        reply = self._command(Phase.MAIL, self._mail_command(envelope))
        if reply.verdict is not Verdict.ACCEPTED:
            return self._abandon(envelope.recipients, reply)
        answers = {address: self._rcpt(address) for address in envelope.recipients}
        accepted = [a for a, answer in answers.items() if answer.verdict is Verdict.ACCEPTED]
        if not accepted:
            self._command(Phase.RSET, "RSET")
            return Outcome(answers)
        outcome = self._send_data(accepted, envelope.data, commit)
        return Outcome({**answers, **outcome.answers})

    def _mail_command(self, envelope: Envelope) -> str:
        options = ""
        if self._smtp.has_extn("size"):
            options += f" SIZE={len(envelope.data)}"
        if envelope.is_8bit and self._smtp.has_extn("8bitmime"):
            options += " BODY=8BITMIME"
        if envelope.needs_smtputf8:
            options += " SMTPUTF8"
        return f"MAIL FROM:<{envelope.sender}>{options}"

    def _rcpt(self, address: str) -> Answer:
        reply = self._command(Phase.RCPT, f"RCPT TO:<{address}>")
        return Answer(reply.verdict, str(reply))

    def _send_data(
        self, recipients: Iterable[str], data: bytes, commit: Callable[[], bool]
    ) -> Outcome:
        reply = self._command(Phase.DATA, "DATA")
        if reply.code != 354:
            return self._abandon(recipients, reply)
        reply_ahead = self._send_body(data)
        if reply_ahead is not None:
            return Outcome.for_all(recipients, reply_ahead.verdict, str(reply_ahead))
        if not commit():
            raise StaleClaim("another worker has taken the message over")
        return self._send_dot(recipients)

    def _send_body(self, data: bytes) -> Reply | None:
        """Write the body; a refusal that the server sent in the middle of it is returned."""
        self._set_timeout(Phase.BODY)
        try:
            self._socket.sendall(_stuffed(data))
        except OSError as error:
            reply = self._reply_after_write_error()
            self.drop()
            if reply is None or reply.verdict is Verdict.ACCEPTED or reply.code == 421:
                raise ServerTrouble(f"connection lost in the message body: {error}") from error
            return reply
        return None

    def _reply_after_write_error(self) -> Reply | None:
        try:
            self._socket.settimeout(5)
            return Reply(*_read(self._smtp))
        except _CONNECTION_ERRORS:
            return None

    def _send_dot(self, recipients: Iterable[str]) -> Outcome:
        self._set_timeout(Phase.DOT)
        try:
            self._socket.sendall(b".\r\n")
            reply = Reply(*_read(self._smtp))
        except _CONNECTION_ERRORS as error:
            self.drop()
            reason = f"no reply to the final dot: {error}"
            return Outcome.for_all(recipients, Verdict.IN_DOUBT, reason)
        if not 200 <= reply.code < 600:
            self.drop()
            return Outcome.for_all(recipients, Verdict.IN_DOUBT, f"unreadable reply: {reply}")
        if reply.code == _SERVICE_NOT_AVAILABLE:
            raise ServerTrouble(str(reply))
        return Outcome.for_all(recipients, reply.verdict, str(reply))

    def _abandon(self, recipients: Iterable[str], reply: Reply) -> Outcome:
        """The server refused the whole message at MAIL or DATA."""
        self._command(Phase.RSET, "RSET")
        return Outcome.for_all(recipients, reply.verdict, str(reply))

    def _command(self, phase: Phase, line: str) -> Reply:
        """Send one command, read its reply; nonsense for a reply is the server's trouble."""
        self._set_timeout(phase)
        self._socket.sendall(line.encode("utf-8") + b"\r\n")
        reply = Reply(*_read(self._smtp))
        if reply.code == _SERVICE_NOT_AVAILABLE or not 200 <= reply.code < 600:
            raise ServerTrouble(str(reply) if reply.code > 0 else f"unreadable reply to {phase}")
        return reply

    @property
    def _socket(self) -> socket.socket:
        if self._smtp.sock is None:
            raise smtplib.SMTPServerDisconnected("the connection is closed")
        return self._smtp.sock

    def _set_timeout(self, phase: Phase) -> None:
        timeout = _PHASE_TIMEOUTS[phase]
        if self._timeout is not None and phase is not Phase.DOT:
            timeout = min(timeout, self._timeout)
        self._socket.settimeout(timeout)


def _read(smtp: smtplib.SMTP) -> tuple[int, str]:
    code, text = smtp.getreply()
    return code, _decoded(text)


def _decoded(text: bytes | str) -> str:
    """A reply as one line of printable text; servers put anything into theirs."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    line = " ".join(text.split())
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)


def _stuffed(data: bytes) -> bytes:
    """The content with its dots doubled (RFC 5321 4.5.2) and a line end at its end."""
    data = data.replace(b"\r\n.", b"\r\n..")
    return b"." + data if data.startswith(b".") else data
