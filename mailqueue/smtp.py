"""The queue's SMTP client: ``smtplib`` connects, and a message loop of our own sends.

``smtplib.SMTP.sendmail`` raises one exception for a whole message, forgets which recipients were
accepted, can't tell a connection that was lost before the final dot from one lost after it, and
waits four times for each message. A queue lives on these differences.
"""

from __future__ import annotations

import math
import smtplib
from collections.abc import Iterable, Sequence
from contextlib import suppress

from . import faultpoint
from .backends.smtp import EmailBackend
from .dialogue import Dialogue
from .errors import MailqueueError
from .outcome import (
    Misconfigured,
    Outcome,
    Reply,
    ServerTrouble,
    StaleClaim,
    Verdict,
)
from .rendering import Envelope, Outgoing, render
from .transaction import PHASE_TIMEOUTS, Phase, Transaction
from .transport import Turn, trouble_of

_SERVICE_NOT_AVAILABLE = 421  # RFC 5321 3.8: the server closes, whatever the command was
_START_MAIL_INPUT = 354
_LOGIN_WANTED = 530  # RFC 4954 6
_CONNECTION_ERRORS = (OSError, smtplib.SMTPException)
# Commands that are written before their replies are read: more might fill both sides' buffers, and
# each would wait for the other (RFC 2920, 3.1).
_COMMANDS_AT_ONCE = 100
# Up to this size a body is written in one go with its dot and the next envelope.
_SMALL = 256 * 1024
_RENDERED_AHEAD = 2  # messages
# Seconds for the replies to the next envelope to come in with the reply to the dot before it.
_TOGETHER = 0.02


class SmtpTransport:
    """One open SMTP connection, and the transactions over it.

    Where the server offers PIPELINING (RFC 2920), a message's end and the next message's envelope
    are one write: a message costs one round trip instead of four.

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
        if self._smtp.sock is None:
            raise ServerTrouble("the server closed the connection")
        self._dialogue = Dialogue(self._smtp.sock)
        self._pipelines = self._smtp.has_extn("pipelining")
        self._rendered: dict[str, Envelope] = {}
        self._begun: Transaction | None = None

    def close(self) -> None:
        """Say QUIT and close."""
        if self._begun is not None:
            self.drop()  # the server waits for a message; a QUIT would become its first line
        self._backend.close()

    def drop(self) -> None:
        """Close without a word: what the peer would answer can't be trusted any more."""
        self._smtp.close()
        self._backend.connection = None

    def is_usable(self) -> bool:
        """Whether the server has neither closed the idle connection nor said anything unasked."""
        if self._smtp.sock is None:
            return False
        return self._begun is not None or not self._dialogue.has_unread()

    def has_begun(self, outgoing: Outgoing) -> bool:
        """Whether the server has answered that message's envelope and waits for its content."""
        begun = self._begun
        return begun is not None and begun.outgoing is outgoing and not begun.unanswered

    def deliver(self, turn: Turn, *, last: bool = False) -> Outcome:
        """Send one message, and begin the next one's transaction unless this is the ``last``.

        Raises ServerTrouble where the fault is the server's or the connection's and the message
        was surely not accepted, StaleClaim where the turn's ``commit`` said no. After any
        exception, ``drop`` the transport.
        """
        try:
            return self._deliver(turn, last)
        except MailqueueError:
            raise  # some of them are OSErrors too, but none of them speaks of this connection
        except _CONNECTION_ERRORS as error:
            raise ServerTrouble(f"connection lost: {error}") from error

    def _deliver(self, turn: Turn, last: bool) -> Outcome:
        transaction, self._begun = self._begun, None
        if transaction is None:
            envelope = self._envelope(turn.outgoing)
            reason = self._obstacle(envelope)
            if reason is not None:
                return Outcome.for_all(turn.outgoing.recipients, Verdict.REFUSED, reason)
            transaction = self._transaction(turn.outgoing, envelope)
            self._begin(transaction)
        elif transaction.outgoing is not turn.outgoing:
            raise ServerTrouble("the server waits for another message's content")
        else:
            self._read_replies(transaction, transaction.unanswered)
        data_reply = transaction.replies[-1]
        if not transaction.accepted:
            return self._abandon(transaction, data_reply.code == _START_MAIL_INPUT)
        if data_reply.code != _START_MAIL_INPUT:
            self._rset()
            return transaction.outcome(data_reply.verdict, str(data_reply))
        return self._send_content(transaction, turn, None if last else turn.ahead())

    # -- the envelope

    def _envelope(self, outgoing: Outgoing) -> Envelope:
        envelope = self._rendered.pop(outgoing.id, None)
        if len(self._rendered) > _RENDERED_AHEAD:  # of messages that were given back
            self._rendered.clear()
        return envelope or render(outgoing, seven_bit=not self._smtp.has_extn("8bitmime"))

    def _render_ahead(self, turn: Turn | None) -> None:
        """Render a message while replies travel; whatever is wrong with it shows at its turn."""
        if turn is not None and turn.outgoing.id not in self._rendered:
            with suppress(Exception):
                self._rendered[turn.outgoing.id] = self._envelope(turn.outgoing)

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

    def _transaction(self, outgoing: Outgoing, envelope: Envelope) -> Transaction:
        recipients = [(Phase.RCPT, f"RCPT TO:<{address}>") for address in envelope.recipients]
        commands = [(Phase.MAIL, self._mail_command(envelope)), *recipients, (Phase.DATA, "DATA")]
        return Transaction(outgoing, envelope, commands)

    def _mail_command(self, envelope: Envelope) -> str:
        options = ""
        if self._smtp.has_extn("size"):
            options += f" SIZE={len(envelope.data)}"
        if envelope.is_8bit and self._smtp.has_extn("8bitmime"):
            options += " BODY=8BITMIME"
        if envelope.needs_smtputf8:
            options += " SMTPUTF8"
        return f"MAIL FROM:<{envelope.sender}>{options}"

    def _begin(self, transaction: Transaction) -> None:
        """Write the envelope and read what is answered, up to the reply to DATA."""
        at_once = _COMMANDS_AT_ONCE if self._pipelines else 1
        for start in range(0, len(transaction.commands), at_once):
            commands = transaction.commands[start : start + at_once]
            if start and not self._is_worthwhile(transaction, commands):
                return
            self._refuse_unasked()
            self._dialogue.write(_written(commands), self._seconds(commands[0][0]))
            self._read_replies(transaction, commands)

    def _is_worthwhile(
        self, transaction: Transaction, commands: Sequence[tuple[Phase, str]]
    ) -> bool:
        """Whether anybody can get the message yet."""
        if transaction.replies[0].verdict is not Verdict.ACCEPTED:
            return False
        return commands[0][0] is Phase.RCPT or bool(transaction.accepted)

    def _read_replies(
        self,
        transaction: Transaction,
        commands: Sequence[tuple[Phase, str]],
        within: float = math.inf,
    ) -> None:
        for phase, _ in commands:
            transaction.replies.append(self._reply(phase, within))
            faultpoint.passed(phase.lower())

    def _abandon(self, transaction: Transaction, is_open: bool) -> Outcome:
        """Nobody can get the message: MAIL was refused, or each RCPT."""
        if is_open:
            # RFC 2920 3.1: the server takes a message for nobody, so it gets an empty one.
            self._dialogue.write(b".\r\n", self._seconds(Phase.BODY))
            self._dialogue.read(self._seconds(Phase.DOT))
        else:
            self._rset()
        return transaction.outcome(Verdict.ACCEPTED, "")

    # -- the content

    def _send_content(
        self, transaction: Transaction, turn: Turn, following: Turn | None
    ) -> Outcome:
        data = _stuffed(transaction.envelope.data)
        upcoming = self._upcoming(following)
        in_parts = len(data) > _SMALL or faultpoint.is_chosen()
        refusal = self._send_body(data if in_parts else b"")
        if refusal is not None:
            return transaction.outcome(refusal.verdict, str(refusal))
        if in_parts:
            faultpoint.passed("body")
            data = b""
        if not turn.commit():
            raise StaleClaim("another worker has taken the message over")
        faultpoint.passed("commit")
        return self._send_end(transaction, data, upcoming, following)

    def _upcoming(self, turn: Turn | None) -> Transaction | None:
        """The transaction to open along with this message's end."""
        if turn is None or not self._pipelines:
            return None
        try:
            envelope = self._envelope(turn.outgoing)
        except Exception:  # noqa: BLE001 - it shows at its own turn, and not in this message's
            return None
        transaction = self._transaction(turn.outgoing, envelope)
        # While a long content is on its way, the result of the message before has to be on record.
        is_long = len(envelope.data) > _SMALL or len(transaction.commands) > _COMMANDS_AT_ONCE
        if is_long or self._obstacle(envelope):
            self._rendered[turn.outgoing.id] = envelope
            return None
        return transaction

    def _send_body(self, data: bytes) -> Reply | None:
        """Write the body; a refusal that the server sends before its end is returned."""
        lost: OSError | None = None
        try:
            self._dialogue.write_long(data, self._seconds(Phase.BODY))
            if not self._dialogue.has_unread():
                return None
        except OSError as error:
            lost = error
        # The server spoke before the end, or closed: what it said decides.
        reply: Reply | None = None
        with suppress(OSError):
            reply = self._dialogue.read(timeout=5)
        self.drop()
        if reply is None or reply.code == _SERVICE_NOT_AVAILABLE or not _is_refusal(reply):
            raise ServerTrouble(f"connection lost in the message body: {lost or reply}")
        return reply

    def _send_end(
        self,
        transaction: Transaction,
        rest: bytes,
        upcoming: Transaction | None,
        following: Turn | None,
    ) -> Outcome:
        """Send what is left of the body, the dot, and the next envelope in one write."""
        end = rest + b".\r\n"
        try:
            if upcoming is None:
                self._dialogue.write(end, self._seconds(Phase.DOT))
            else:
                self._dialogue.write(end + _written(upcoming.commands), self._seconds(Phase.DOT))
            faultpoint.passed("dot")
            self._render_ahead(following if upcoming is None else following and following.ahead())
            reply = self._dialogue.read(self._seconds(Phase.DOT))
            faultpoint.passed("reply")
        except Exception as error:  # noqa: BLE001 - whatever ended the wait, the dot is sent
            self.drop()
            reason = str(error) or type(error).__name__
            return transaction.outcome(Verdict.IN_DOUBT, f"no reply to the final dot: {reason}")
        if reply.code == _SERVICE_NOT_AVAILABLE:
            raise ServerTrouble(str(reply))
        if not (reply.verdict is Verdict.ACCEPTED or _is_refusal(reply)):
            self.drop()
            return transaction.outcome(Verdict.IN_DOUBT, f"unexpected reply: {reply}")
        self._take_up(upcoming)
        return transaction.outcome(reply.verdict, str(reply))

    def _take_up(self, upcoming: Transaction | None) -> None:
        """Read the replies to the envelope that was written along with the dot, if they came too.

        If they didn't, they are waited for when the result at hand is on record.
        """
        self._begun = upcoming
        if upcoming is None:
            return
        try:
            self._read_replies(upcoming, upcoming.commands, _TOGETHER)
        except TimeoutError:
            return
        except (ServerTrouble, OSError):
            # It is the connection's end, and no news of the message that was just answered.
            self._begun = None
            self.drop()

    # -- commands

    def _rset(self) -> None:
        self._refuse_unasked()
        self._dialogue.write(b"RSET\r\n", self._seconds(Phase.RSET))
        self._reply(Phase.RSET)

    def _reply(self, phase: Phase, within: float = math.inf) -> Reply:
        """Read the reply to a command; nonsense for a reply is the server's trouble."""
        reply = self._dialogue.read(min(self._seconds(phase), within))
        wanted = reply.code == _START_MAIL_INPUT if phase is Phase.DATA else reply.code < 300
        if reply.code == _SERVICE_NOT_AVAILABLE or not (wanted or _is_refusal(reply)):
            raise ServerTrouble(f"{reply} (to {phase})")
        if phase is Phase.MAIL and reply.code == _LOGIN_WANTED:
            # Our settings lack a login, or TLS: no message is to blame. To RCPT some servers say
            # the same of a single recipient whom they don't relay to.
            raise Misconfigured(str(reply))
        return reply

    def _refuse_unasked(self) -> None:
        """Replies that nobody asked for would be read as those to what is asked next."""
        if self._dialogue.has_unread():
            reply = self._dialogue.read(timeout=1)
            raise ServerTrouble(f"the server said something unasked: {reply}")

    def _seconds(self, phase: Phase) -> float:
        timeout = PHASE_TIMEOUTS[phase]
        if self._timeout is not None and phase is not Phase.DOT:
            timeout = min(timeout, self._timeout)
        return timeout


def _is_refusal(reply: Reply) -> bool:
    return 400 <= reply.code < 600


def _written(commands: Iterable[tuple[Phase, str]]) -> bytes:
    return "".join(f"{line}\r\n" for _, line in commands).encode("utf-8")


def _stuffed(data: bytes) -> bytes:
    """The content with its dots doubled (RFC 5321 4.5.2)."""
    data = data.replace(b"\r\n.", b"\r\n..")
    return b"." + data if data.startswith(b".") else data
