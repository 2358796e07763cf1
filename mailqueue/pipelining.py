"""Sending by DATA: a message's end and the next one's envelope are one write (RFC 2920)."""

from __future__ import annotations

from collections.abc import Sequence

from . import faultpoint
from .outcome import Outcome, Reply, ServerTrouble, StaleClaim, Verdict
from .rendering import Outgoing
from .session import SERVICE_NOT_AVAILABLE, START_MAIL_INPUT, Session, is_refusal
from .transaction import Phase, Transaction, written
from .transport import Turn

# Seconds for the replies to the next envelope to come in with the reply to the dot before it.
_TOGETHER = 0.02
_DATA = (Phase.DATA, "DATA")


class ByData:
    """Messages sent by DATA, one after the other.

    Where the server offers PIPELINING, a message costs one round trip instead of four.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._begun: Transaction | None = None  # of the message after the last
        self._upcoming: Transaction | None = None  # the same, until it is written
        self._end: list[bytes] = []  # what is written next, of the message at hand and of that
        self._newest: Turn | None = None  # the last that was looked at

    def is_busy(self) -> bool:
        """Never: each message is answered before its turn ends."""
        return False

    def is_amid(self) -> bool:
        """Whether the server waits for a message; a QUIT would become its first line."""
        return self._begun is not None

    def has_begun(self, outgoing: Outgoing) -> bool:
        """Whether the server has answered that message's envelope and waits for its content."""
        begun = self._begun if self._session.is_open else None
        return begun is not None and begun.outgoing is outgoing and not begun.unanswered

    def is_ready(self, outgoing: Outgoing) -> bool:
        """Whether the content is all that is still to be sent of that message."""
        return self.has_begun(outgoing)

    def deliver(self, turn: Turn, room: int) -> Outcome:
        """Send one message, and begin the next one's transaction where there is room for it."""
        transaction, self._begun = self._begun, None
        if transaction is None:
            reason = self._session.obstacle(self._session.envelope(turn.outgoing))
            if reason is not None:
                return Outcome.for_all(turn.outgoing.recipients, Verdict.REFUSED, reason)
            transaction = self._session.transaction(turn.outgoing, _DATA)
            self._session.begin(transaction)
        elif transaction.outgoing is not turn.outgoing:
            raise ServerTrouble("the server waits for another message's content")
        else:
            self._session.read_replies(transaction, transaction.unanswered)
        data_reply = transaction.replies[-1]
        if not transaction.is_wanted:
            return self._abandon(transaction, data_reply.code == START_MAIL_INPUT)
        if data_reply.code != START_MAIL_INPUT:
            self._session.rset()
            return transaction.outcome(data_reply.verdict, str(data_reply))
        return self._send_content(transaction, turn, room)

    def _abandon(self, transaction: Transaction, is_open: bool) -> Outcome:
        """Nobody can get the message: MAIL was refused, or each RCPT."""
        session = self._session
        if is_open:
            # RFC 2920 3.1: the server takes a message for nobody, so it gets an empty one.
            session.dialogue.write(b".\r\n", timeout=session.seconds(Phase.BODY))
            session.dialogue.read(session.seconds(Phase.DOT))
        else:
            session.rset()
        return transaction.outcome(Verdict.ACCEPTED, "")

    def _send_content(self, transaction: Transaction, turn: Turn, room: int) -> Outcome:
        data = transaction.envelope.data
        if faultpoint.is_chosen() or not self._session.is_short(transaction.envelope):
            refusal = self._send_body(_stuffed(data))
            if refusal is not None:
                return transaction.outcome(refusal.verdict, str(refusal))
            faultpoint.passed("body")
            data = b""
        elif self._session.dialogue.has_unread():
            refusal = self._session.early_refusal()
            return transaction.outcome(refusal.verdict, str(refusal))
        self._end, self._upcoming, self._newest = [], None, None
        if not turn.commit(meanwhile=lambda: self._prepare(turn, room, data))[0]:
            self._session.drop()
            raise StaleClaim("another worker has taken the message over")
        faultpoint.passed("commit")
        return self._send_end(transaction)

    def _prepare(self, turn: Turn, room: int, data: bytes) -> None:
        """Make ready what is written next, while the journal answers, and render one more."""
        if self._end:
            return  # the journal was asked again
        self._end = [*_stuffed(data), b".\r\n"]
        self._newest = turn if room > 1 else None
        if self._newest is not None:
            self._begin_with(turn.ahead())
            self._newest.look_further()

    def _begin_with(self, following: Turn | None) -> None:
        """Have the next message's envelope go along, and render the one after it."""
        if following is None or not self._session.pipelines:
            return
        if not self._session.goes_along(following.outgoing):
            return
        self._upcoming = self._session.transaction(following.outgoing, _DATA)
        self._end.append(written(self._upcoming.commands))
        self._newest = following
        after = following.ahead()
        if after is not None:
            self._newest = after
            self._session.goes_along(after.outgoing)

    def _send_body(self, parts: Sequence[bytes]) -> Reply | None:
        """Write the body; a refusal that the server sends before its end is returned."""
        for part in parts:
            refusal = self._session.write_long(b"", part)
            if refusal is not None:
                return refusal
        return self._session.early_refusal() if self._session.dialogue.has_unread() else None

    def _send_end(self, transaction: Transaction) -> Outcome:
        """Send what is left of the body, the dot, and the next envelope in one write."""
        session, upcoming = self._session, self._upcoming
        try:
            session.dialogue.write(*self._end, timeout=session.seconds(Phase.DOT))
            faultpoint.passed("dot")
            self._look_ahead()
            reply = session.dialogue.read(session.seconds(Phase.DOT))
            faultpoint.passed("reply")
        except Exception as error:  # noqa: BLE001 - whatever ended the wait, the dot is sent
            session.drop()
            reason = str(error) or type(error).__name__
            return transaction.outcome(Verdict.IN_DOUBT, f"no reply to the final dot: {reason}")
        if reply.code == SERVICE_NOT_AVAILABLE:
            raise ServerTrouble(str(reply))
        if not (reply.verdict is Verdict.ACCEPTED or is_refusal(reply)):
            session.drop()
            return transaction.outcome(Verdict.IN_DOUBT, f"unexpected reply: {reply}")
        self._take_up(upcoming)
        return transaction.outcome(reply.verdict, str(reply))

    def _look_ahead(self) -> None:
        """Rebuild another message, and where the server takes its time, render it here already."""
        following = self._newest and self._newest.ahead()
        if following is not None and not self._session.dialogue.has_unread():
            self._session.goes_along(following.outgoing)

    def _take_up(self, upcoming: Transaction | None) -> None:
        """Read the replies to the envelope that was written along with the dot, if they came too.

        If they didn't, they are waited for when the result at hand is on record.
        """
        self._begun = upcoming
        if upcoming is None:
            return
        try:
            self._session.read_replies(upcoming, upcoming.commands, _TOGETHER)
        except TimeoutError:
            return
        except (ServerTrouble, OSError):
            # It is the connection's end, and no news of the message that was just answered.
            self._begun = None
            self._session.drop()


def _stuffed(data: bytes) -> list[bytes]:
    """The content with its dots doubled (RFC 5321 4.5.2); no copy where no line begins with one."""
    stuffed = data.replace(b"\r\n.", b"\r\n..")
    return [b".", stuffed] if data.startswith(b".") else [stuffed]
