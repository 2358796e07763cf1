"""What every way of sending over one SMTP connection needs: envelopes, commands, replies."""

from __future__ import annotations

import math
import smtplib
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress

from mailqueue.backends.smtp import EmailBackend

from .. import faultpoint
from ..envelope import Envelope, Outgoing, render
from ..fault import building
from ..outcome import Reply, Verdict
from ..refusal import advice
from ..trouble import LOGIN_WANTED, Misconfigured, ServerTrouble
from .dialogue import Dialogue, GarbledReply
from .transaction import PHASE_TIMEOUTS, Command, Phase, Transaction, encode

SERVICE_NOT_AVAILABLE = 421  # RFC 5321 3.8: the server closes, whatever the command was
START_MAIL_INPUT = 354
# Commands that are written before their replies are read: more might fill both sides' buffers, and
# each would wait for the other (RFC 2920, 3.1).
COMMANDS_AT_ONCE = 100
_NOTHING = (None, None)
# Up to this size a content is written in one go, without a look at what the server says meanwhile.
_SMALL = 256 * 1024


class Session:
    """An open SMTP connection of a backend's, and the commands and replies over it.

    Up to ``ahead`` messages are rendered before their turns.
    """

    def __init__(self, backend: EmailBackend, timeout: float | None, ahead: int = 1) -> None:
        self._backend = backend
        self._smtp: smtplib.SMTP = backend.connection
        if self._smtp.sock is None:
            raise ServerTrouble("the server closed the connection")
        # How long to wait for the server in each phase.
        self.seconds: Mapping[Phase, float] = {
            phase: usual if timeout is None or phase is Phase.DOT else min(usual, timeout)
            for phase, usual in PHASE_TIMEOUTS.items()
        }
        # By the id, and only for the very same: a later attempt is for other recipients.
        self._rendered: dict[str, tuple[Outgoing, Envelope]] = {}
        self._most_rendered = 2 * ahead  # the rest is of messages that were given back
        self.is_encrypted = isinstance(self._smtp.sock, ssl.SSLSocket)
        self.dialogue = Dialogue(self._smtp.sock)
        self.pipelines = self.offers("pipelining")

    @property
    def own_name(self) -> str:
        """By what name the server was greeted."""
        return self._smtp.local_hostname

    @property
    def login(self) -> str:
        """Who is logged in, and how; empty for nobody."""
        return self._backend.login()

    @property
    def is_open(self) -> bool:
        """Whether nobody has closed it on our side."""
        return self._smtp.sock is not None

    def offers(self, extension: str) -> bool:
        """Whether the server has said that it can do that."""
        return self._smtp.has_extn(extension)

    def close(self) -> None:
        """Say QUIT and close."""
        self._backend.close()

    def drop(self) -> None:
        """Close without a word: what the peer would answer can't be trusted any more."""
        self._smtp.close()
        self._backend.connection = None

    # -- envelopes

    def envelope(self, outgoing: Outgoing) -> Envelope:
        """Render the message, once until its transaction. Raises whatever is wrong with it."""
        if len(self._rendered) > self._most_rendered:
            self._rendered.clear()
        known, envelope = self._rendered.get(outgoing.id, _NOTHING)
        if envelope is None or known is not outgoing:
            with building():
                envelope = render(outgoing, seven_bit=not self.offers("8bitmime"))
            self._rendered[outgoing.id] = outgoing, envelope
        return envelope

    def goes_along(self, outgoing: Outgoing) -> bool:
        """Whether that message can be written together with others; it is rendered for that."""
        try:
            envelope = self.envelope(outgoing)
        except Exception:  # noqa: BLE001 - it shows at its own turn, and not in another message's
            return False
        is_short = self.is_short(envelope) and len(envelope.spellings) < COMMANDS_AT_ONCE
        return is_short and self.obstacle(envelope) is None

    def is_short(self, envelope: Envelope) -> bool:
        """Whether the content may be written in one go with what comes before and after it."""
        return len(envelope.data) <= _SMALL

    def has_rendered(self, outgoing: Outgoing) -> bool:
        """Whether that message only has to be written."""
        return self._rendered.get(outgoing.id, _NOTHING)[0] is outgoing

    def obstacle(self, envelope: Envelope) -> str | None:
        """Why this server can't take that message, known before MAIL."""
        limit = self._smtp.esmtp_features.get("size", "").split(" ")[0]
        if limit.isdecimal() and 0 < int(limit) < len(envelope.data):
            return (
                f"552 the message has {len(envelope.data)} bytes, the server takes at most {limit}"
            )
        if envelope.needs_smtputf8 and not self.offers("smtputf8"):
            return "553 an address is not ASCII, and the server does not offer SMTPUTF8"
        return None

    def transaction(self, outgoing: Outgoing, end: Command) -> Transaction:
        """Begin the message's transaction: MAIL, a RCPT for each recipient, and that command."""
        envelope = self.envelope(outgoing)
        recipients = [(Phase.RCPT, f"RCPT TO:<{address}>") for address in envelope.recipients]
        commands = [(Phase.MAIL, self._mail_command(envelope)), *recipients, end]
        del self._rendered[outgoing.id]
        return Transaction(outgoing, envelope, commands)

    def _mail_command(self, envelope: Envelope) -> str:
        options = ""
        if self.offers("size"):
            options += f" SIZE={len(envelope.data)}"
        if envelope.is_8bit and self.offers("8bitmime"):
            options += " BODY=8BITMIME"
        if envelope.needs_smtputf8:
            options += " SMTPUTF8"
        return f"MAIL FROM:<{envelope.sender}>{options}"

    def begin(self, transaction: Transaction, tail: bytes = b"") -> None:
        """Write the transaction's commands, the tail after the last, and read what is answered.

        Where nobody can get the message, the last of many commands are spared.
        """
        self.write_commands(transaction, transaction.commands, tail)

    def write_commands(
        self,
        transaction: Transaction,
        commands: Sequence[Command],
        tail: bytes = b"",
        within: float = math.inf,
    ) -> None:
        """Do that with some of its commands; each reply may take ``within`` seconds at most."""
        at_once = COMMANDS_AT_ONCE if self.pipelines else 1
        for start in range(0, len(commands), at_once):
            some = commands[start : start + at_once]
            if start and not _is_worthwhile(transaction, some):
                return
            end = [tail] if start + at_once >= len(commands) else []
            self.refuse_unasked()
            self.dialogue.write(encode(some), *end, timeout=self.seconds[some[0][0]])
            self.read_replies(transaction, some, within)

    # -- the content

    def write_long(self, head: bytes, data: bytes | memoryview) -> Reply | None:
        """Write a content; a refusal that the server sends before its end is returned."""
        lost: OSError | None = None
        try:
            if head:
                self.dialogue.write(head, timeout=self.seconds[Phase.BODY])
            if self.dialogue.write_long(data, self.seconds[Phase.BODY]):
                return None
        except OSError as error:
            lost = error
        return self.early_refusal(lost)

    def early_refusal(self, lost: OSError | None = None) -> Reply:
        """The server spoke before the content's end, or closed: what it said decides."""
        reply: Reply | None = None
        with suppress(OSError):
            reply = self.dialogue.read(timeout=5)
        self.drop()
        if reply is None or reply.code == SERVICE_NOT_AVAILABLE or not is_refusal(reply):
            raise ServerTrouble(f"connection lost in the message body: {lost or reply}")
        return reply

    # -- commands

    def rset(self) -> Reply:
        """Have the server forget the transaction that is open; return what it says."""
        self.refuse_unasked()
        self.dialogue.write(b"RSET\r\n", timeout=self.seconds[Phase.RSET])
        return self.reply(Phase.RSET)

    def read_replies(
        self, transaction: Transaction, commands: Sequence[Command], within: float = math.inf
    ) -> None:
        """Read the replies to those of the transaction's commands."""
        for phase, _ in commands:
            transaction.replies.append(self.reply(phase, within))
            faultpoint.reach("data" if phase is Phase.CHUNK else phase.lower())

    def reply(self, phase: Phase, within: float = math.inf) -> Reply:
        """Read the reply to a command; nonsense for a reply is the server's trouble."""
        return check_reply(self.dialogue.read(min(self.seconds[phase], within)), phase)

    def refuse_unasked(self, within: float = 0) -> None:
        """Replies that nobody asked for would be read as those to what is asked next."""
        if self.dialogue.has_unread(within):
            reply = self.dialogue.read(timeout=1)
            raise ServerTrouble(f"the server said something unasked: {reply}")


def check_reply(reply: Reply, phase: Phase) -> Reply:
    """Return the reply, if it is one to that phase and none about the server itself.

    Raises ServerTrouble for the latter, GarbledReply for what can't be a reply to that.
    """
    if reply.code == SERVICE_NOT_AVAILABLE:
        raise ServerTrouble(f"{reply} (to {phase})")
    wanted = reply.code == START_MAIL_INPUT if phase is Phase.DATA else reply.code < 300
    if not (wanted or is_refusal(reply)):
        raise GarbledReply(f"unexpected reply: {reply} (to {phase})")
    if phase is Phase.MAIL and reply.code in LOGIN_WANTED:
        # Our settings lack a login, or TLS: no message is to blame. To RCPT some servers say
        # the same of a single recipient whom they don't relay to.
        raise Misconfigured(advice(str(reply)))
    return reply


def is_refusal(reply: Reply) -> bool:
    """Whether it says no, for now or for good."""
    return 400 <= reply.code < 600


def _is_worthwhile(transaction: Transaction, commands: Sequence[Command]) -> bool:
    """Whether anybody can get the message yet."""
    if transaction.replies[0].verdict is not Verdict.ACCEPTED:
        return False
    return commands[0][0] is Phase.RCPT or transaction.is_wanted
