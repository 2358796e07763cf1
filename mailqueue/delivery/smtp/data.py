"""Sending by DATA: a message's end and the next one's envelope are one write (RFC 2920)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .. import faultpoint
from ..envelope import Outgoing
from ..outcome import Outcome, Reply, Verdict
from ..transport import Turn
from ..trouble import ServerTrouble, StaleClaim
from .session import SERVICE_NOT_AVAILABLE, START_MAIL_INPUT, Session, is_refusal
from .transaction import Phase, Transaction, encode

# Seconds for the replies to the next envelope to come in with the reply to the dot before it, and
# for the rest of a reply to come in with its beginning.
_TOGETHER = 0.02
_DATA = (Phase.DATA, "DATA")


@dataclass
class _End:
    """What is left to be written of a message, and the envelope that goes along with it."""

    outgoing: Outgoing
    parts: list[bytes]
    upcoming: Transaction | None = None
    newest: Turn | None = None  # the last that was looked at for this


class ByData:
    """Messages sent by DATA, one after the other.

    Where the server offers PIPELINING, a message costs one round trip instead of four.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._begun: Transaction | None = None  # of the message after the last
        self._ready: _End | None = None  # the next message's, where there was time for it

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
        """Whether the server waits for that message's content, so that its commit comes next."""
        begun = self._begun
        return begun is not None and self.has_begun(outgoing) and _wants_content(begun)

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
        if _wants_content(transaction):
            return self._send_content(transaction, turn, room)
        data_reply = transaction.replies[-1]
        if not transaction.is_wanted:
            return self._abandon(transaction, data_reply.code == START_MAIL_INPUT)
        self._session.rset()
        outcome = transaction.outcome(data_reply.verdict, str(data_reply))
        return replace(outcome, turned_away=True)

    def _abandon(self, transaction: Transaction, is_open: bool) -> Outcome:
        """Nobody can get the message: MAIL was refused, or each RCPT."""
        session = self._session
        if is_open:
            # RFC 2920 3.1: the server takes a message for nobody, so it gets an empty one.
            session.dialogue.write(b".\r\n", timeout=session.seconds[Phase.BODY])
            session.dialogue.read(session.seconds[Phase.DOT])
        else:
            session.rset()
        return transaction.outcome(Verdict.ACCEPTED, "")

    def _send_content(self, transaction: Transaction, turn: Turn, room: int) -> Outcome:
        data = transaction.envelope.data
        ready, self._ready = self._ready, None
        if faultpoint.is_chosen() or not self._session.is_short(transaction.envelope):
            refusal = self._send_body(_stuff_dots(data))
            if refusal is not None:
                return transaction.outcome(refusal.verdict, str(refusal))
            faultpoint.reach("body")
            data, ready = b"", None
        elif self._session.dialogue.has_unread():
            refusal = self._session.early_refusal()
            return transaction.outcome(refusal.verdict, str(refusal))
        if ready is not None and not _still_holds(ready, turn, room):
            ready = None

        def end() -> _End:
            nonlocal ready
            ready = ready or self._prepare_end(turn, room, data)
            return ready

        if not turn.commit(meanwhile=end)[0]:
            self._session.drop()
            raise StaleClaim("another worker has taken the message over")
        faultpoint.reach("commit")
        return self._send_end(transaction, end(), turn, room)

    def _prepare_end(self, turn: Turn, room: int, data: bytes) -> _End:
        """Make ready what is written next, and render the message after those that are part of it.

        Have the journal asked for more messages, too.
        """
        end = _End(turn.outgoing, [*_stuff_dots(data), b".\r\n"])
        turn.collect()
        following = turn.ahead() if room > 1 else None
        if following is not None and self._goes_along(following.outgoing):
            end.upcoming = self._session.transaction(following.outgoing, _DATA)
            end.parts.append(encode(end.upcoming.commands))
            after = following.ahead()
            if after is not None and self._session.goes_along(after.outgoing):
                end.newest = after
        if room > 1:
            turn.look_further()
        return end

    def _goes_along(self, outgoing: Outgoing) -> bool:
        """Whether that message's envelope may be written before this one's end is answered."""
        return self._session.pipelines and self._session.goes_along(outgoing)

    def _send_body(self, parts: Sequence[bytes]) -> Reply | None:
        """Write the body; a refusal that the server sends before its end is returned."""
        for part in parts:
            refusal = self._session.write_long(b"", part)
            if refusal is not None:
                return refusal
        return self._session.early_refusal() if self._session.dialogue.has_unread() else None

    def _send_end(self, transaction: Transaction, end: _End, turn: Turn, room: int) -> Outcome:
        """Send what is left of the body, the dot, and the next envelope in one write."""
        session = self._session
        try:
            session.dialogue.endure(losses=True)  # giving up early would leave it in doubt
            session.dialogue.write(*end.parts, timeout=session.seconds[Phase.DOT])
            faultpoint.reach("dot")
            if end.newest is not None:
                end.newest.ahead()  # which rebuilds one more
            reply = session.dialogue.read_at_once(_TOGETHER)
            if reply is None:
                self._use_time(end, turn, room)
                reply = session.dialogue.read(session.seconds[Phase.DOT])
            session.dialogue.endure(losses=False)
            faultpoint.reach("reply")
        except Exception as error:  # noqa: BLE001 - whatever ended the wait, the dot is sent
            session.drop()
            reason = str(error) or type(error).__name__
            return transaction.outcome(Verdict.IN_DOUBT, f"no reply to the final dot: {reason}")
        if reply.code == SERVICE_NOT_AVAILABLE:
            raise ServerTrouble(str(reply))
        if not (reply.verdict is Verdict.ACCEPTED or is_refusal(reply)):
            session.drop()
            return transaction.outcome(Verdict.IN_DOUBT, f"unexpected reply: {reply}")
        self._take_up(end.upcoming)
        return transaction.outcome(reply.verdict, str(reply))

    def _use_time(self, end: _End, turn: Turn, room: int) -> None:
        """While the server takes its own, make ready all that can be of the next message."""
        following = turn.ahead() if room > 1 else None  # None also where the worker is to stop
        if following is not None:
            if end.upcoming is None:
                self._session.goes_along(following.outgoing)  # which renders it
            else:
                self._ready = self._prepare_end(following, room - 1, end.upcoming.envelope.data)
        turn.collect()

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


def _wants_content(transaction: Transaction) -> bool:
    """Whether the message will get to anybody, and its content is what the server waits for."""
    return transaction.is_wanted and transaction.replies[-1].code == START_MAIL_INPUT


def _still_holds(ready: _End, turn: Turn, room: int) -> bool:
    """Whether it is this message's, and what goes along with it may still go."""
    if ready.outgoing is not turn.outgoing:
        return False  # the message that it was made for was wanted by nobody
    return ready.upcoming is None or (room > 1 and turn.ahead() is not None)


def _stuff_dots(data: bytes) -> list[bytes]:
    """The content with its dots doubled (RFC 5321 4.5.2); no copy where no line begins with one."""
    stuffed = data.replace(b"\r\n.", b"\r\n..")
    return [b".", stuffed] if data.startswith(b".") else [stuffed]
