"""Sending by BDAT (RFC 3030): whole messages in one write each, several of them under way."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Sequence

from mailqueue.errors import JournalUnavailable

from .. import faultpoint
from ..envelope import Outgoing
from ..outcome import Outcome, Reply, Verdict
from ..transport import Turn
from ..trouble import ChunkingRefused, ServerTrouble, StaleClaim
from .dialogue import GarbledReply
from .session import COMMANDS_AT_ONCE, Session, check_reply, is_refusal
from .transaction import PHASE_TIMEOUTS, Command, Phase, Transaction, encode

_NOT_UNDERSTOOD = {500, 501, 502, 503, 504}  # BDAT itself, and not the message
# Seconds within which a connection's first BDAT is answered: its server has nothing to do for it.
_FIRST_ANSWER = 30.0
_RSET = (Phase.RSET, "RSET")
_DIGIT = re.compile(r"[0-9]")
_LONGEST_FIRST_PART = 16  # bytes
_A_MOMENT = 0.01  # seconds, once for each connection


def may_chunk(session: Session) -> bool:
    """Whether the server says that it takes BDAT, and commands in advance."""
    return session.pipelines and session.offers("chunking")


class ByChunks:
    """Messages sent by BDAT, at most ``limit`` of them between their ends and recorded replies.

    The first message of a connection, and each long one, goes in parts. Its first part holds no
    line's end: a server that offers BDAT and doesn't know it would take lines for commands. A
    connection's first BDAT waits for the replies to the envelope, so that what it comes to is known
    for its own. If that isn't a yes, or not within ``patience`` seconds, the server can't do it.

    An RSET goes behind each message. After one that nobody gets, some servers want it; and by its
    reply, which reads like no other, it shows that each reply before it was read as what it was.
    """

    def __init__(self, session: Session, limit: int, patience: float = _FIRST_ANSWER) -> None:
        self._session = session
        self._patience = patience
        self._limit = limit
        self._under_way: deque[Transaction] = deque()  # whose ends were written; oldest first
        self._newest: Turn | None = None  # the last that was looked at
        self._is_proven = False  # this connection has taken a BDAT
        self._is_cut = False  # something was written in part
        self._loss = "the connection was closed"
        self._reset: str | None = None  # what this server says to RSET

    def is_busy(self) -> bool:
        """Whether messages wait for their replies."""
        return bool(self._under_way)

    def is_amid(self) -> bool:
        """Whether this is no time for a QUIT."""
        return bool(self._under_way) or self._is_cut

    def has_begun(self, outgoing: Outgoing) -> bool:
        """Whether that message is under way."""
        return any(transaction.outgoing is outgoing for transaction in self._under_way)

    def is_ready(self, outgoing: Outgoing) -> bool:
        """Whether that message is under way, or can be without any more ado."""
        if self.has_begun(outgoing):
            return True
        return self._session.has_rendered(outgoing) and self._goes_whole(outgoing)

    def deliver(self, turn: Turn, room: int) -> Outcome:
        """Send one message, and those after it as far as there is room; return its outcome."""
        if not self._under_way:
            self._newest = turn
            reason = self._session.obstacle(self._session.envelope(turn.outgoing))
            if reason is not None:
                return Outcome.for_all(turn.outgoing.recipients, Verdict.REFUSED, reason)
            if not self._goes_whole(turn.outgoing):
                outcome = self._send_in_parts(turn)
                if outcome is not None:
                    return outcome
        if self._may_write():
            self._send_along(turn, min(self._limit, room))
        return self._answer(turn)

    def _goes_whole(self, outgoing: Outgoing) -> bool:
        if faultpoint.is_chosen() or not self._is_proven:
            return False
        return self._session.goes_along(outgoing)

    # -- whole messages

    def _may_write(self) -> bool:
        """Whether it is time to write, and to record what has been answered so far.

        Replies tend to come together, and share a call to the journal; but the server shouldn't
        run out of messages meanwhile.
        """
        if not self._under_way:
            return True
        dialogue, oldest = self._session.dialogue, self._under_way[0]
        if self._is_cut or not self._session.is_open or dialogue.is_ending():
            return False
        if len(self._under_way) <= self._limit // 2:
            return True
        return not dialogue.has_answered(len(oldest.unanswered))

    def _send_along(self, turn: Turn, limit: int) -> None:
        """Write as many messages as may be under way; all results so far are recorded first."""
        is_first = not self._under_way
        if is_first:
            self._session.refuse_unasked()
        turns = self._next_turns([turn] if is_first else [], limit - len(self._under_way))
        try:
            first, newest = (turns[0], turns[-1]) if turns else (turn, self._newest)
            allowed = first.commit(len(turns), meanwhile=lambda: self._prepare(newest, 1))
        except JournalUnavailable:
            if is_first:
                raise
            return  # what is under way is answered first
        if turns:
            faultpoint.reach("commit")
            self._newest = turns[-1]
            self._write([t for t, may_go in zip(turns, allowed, strict=True) if may_go])
        if is_first and not allowed[0]:
            raise StaleClaim("another worker has taken the message over")

    def _next_turns(self, turns: list[Turn], count: int) -> list[Turn]:
        """These and those after them, ``count`` at most, as far as their messages go whole."""
        newest = self._newest
        room = COMMANDS_AT_ONCE - sum(len(t.commands) for t in self._under_way)
        room -= sum(_length(turn) for turn in turns)
        while newest is not None and len(turns) < count:
            newest = newest.ahead()
            if newest is None or not self._goes_whole(newest.outgoing):
                break
            room -= _length(newest)
            if room < 0:
                break
            turns.append(newest)
        return turns

    def _write(self, turns: list[Turn]) -> None:
        parts: list[bytes] = []
        for turn in turns:
            size = len(self._session.envelope(turn.outgoing).data)
            last = (Phase.DOT, f"BDAT {size} LAST")
            transaction = self._session.transaction(turn.outgoing, last)
            parts += self._end(transaction, transaction.commands, transaction.envelope.data)
        self._write_ends(parts)

    def _end(
        self, transaction: Transaction, commands: Sequence[Command], data: bytes
    ) -> list[bytes]:
        """What is to be written of a message that is under way from now on."""
        transaction.deadline = time.monotonic() + PHASE_TIMEOUTS[Phase.DOT]
        self._under_way.append(transaction)
        parts = [encode(commands), data, encode([_RSET])]
        transaction.commands.append(_RSET)
        return parts

    def _write_ends(self, parts: list[bytes]) -> None:
        """Write what makes messages complete. Where it breaks off, replies can still be read."""
        try:
            self._session.dialogue.endure(losses=True)
            self._session.dialogue.write(*parts, timeout=self._session.seconds[Phase.DOT])
        except OSError as error:
            self._is_cut, self._loss = True, str(error)
            self._session.dialogue.end()
        faultpoint.reach("dot")
        if not self._session.dialogue.answers_at_once():
            self._prepare(self._newest, self._limit)

    def _prepare(self, newest: Turn | None, count: int) -> None:
        """Rebuild and render so many messages after that, or fewer where the server answers."""
        for _ in range(count):
            newest = newest and newest.ahead()
            if newest is None or not self._session.goes_along(newest.outgoing):
                return
            if self._session.dialogue.has_unread():
                return

    # -- a message in parts

    def _send_in_parts(self, turn: Turn) -> Outcome | None:
        """Write a message that can be stopped until its last line's end; None: all is written."""
        data = memoryview(self._session.envelope(turn.outgoing).data)
        length = _length_of_first_part(bytes(data[:_LONGEST_FIRST_PART]))
        transaction = self._session.transaction(turn.outgoing, (Phase.CHUNK, f"BDAT {length}"))
        reply = self._begin(transaction, bytes(data[:length]))
        if not transaction.is_wanted or reply.verdict is not Verdict.ACCEPTED:
            return self._abandon(transaction, reply)
        # A line too many pushes the last reply out of its place, and that may be on its way still.
        # Later, it would leave in doubt all that is under way.
        self._session.refuse_unasked(0 if self._is_proven else _A_MOMENT)
        self._is_proven = True
        rest = data[length:]
        refusal = self._write_middle(transaction, rest[:-2])
        if refusal is not None:
            return transaction.outcome(refusal.verdict, str(refusal))
        faultpoint.reach("body")
        if not turn.commit()[0]:
            self._session.drop()
            raise StaleClaim("another worker has taken the message over")
        faultpoint.reach("commit")
        self._write_last(transaction, bytes(rest[-2:]))
        return None

    def _begin(self, transaction: Transaction, first: bytes) -> Reply:
        """Write the envelope and the first part; return what was said of that part."""
        try:
            if self._is_proven:
                self._session.begin(transaction, first)
            else:
                self._try_out(transaction, first)
        except (OSError, ServerTrouble) as error:
            is_amid_chunk = [phase for phase, _ in transaction.unanswered] == [Phase.CHUNK]
            if is_amid_chunk and transaction.is_wanted and not self._is_proven:
                raise _refusal(str(error)) from error
            raise
        reply = transaction.replies[-1]
        is_known = self._is_proven and reply.code not in _NOT_UNDERSTOOD
        if transaction.is_wanted and reply.verdict is not Verdict.ACCEPTED and not is_known:
            raise _refusal(str(reply))
        return reply

    def _try_out(self, transaction: Transaction, first: bytes) -> None:
        """Write the envelope; when that is answered, a first BDAT, where somebody is accepted."""
        envelope, chunk = transaction.commands[:-1], transaction.commands[-1:]
        self._session.write_commands(transaction, envelope)
        if transaction.is_wanted:
            self._session.write_commands(transaction, chunk, first, within=self._patience)

    def _abandon(self, transaction: Transaction, reply: Reply) -> Outcome:
        """Nobody can get the message, or it was refused by its beginning."""
        if is_refusal(self._session.rset()):  # who knows what became of the part
            self._session.drop()
        return transaction.outcome(reply.verdict, str(reply))

    def _write_middle(self, transaction: Transaction, data: memoryview) -> Reply | None:
        """Write all but the end; a refusal that the server sends before that is returned."""
        command = (Phase.CHUNK, f"BDAT {len(data)}")
        transaction.commands.append(command)
        return self._session.write_long(encode([command]), data)

    def _write_last(self, transaction: Transaction, data: bytes) -> None:
        command = (Phase.DOT, f"BDAT {len(data)} LAST")
        transaction.commands.append(command)
        self._write_ends(self._end(transaction, [command], data))

    # -- replies

    def _answer(self, turn: Turn) -> Outcome:
        """What became of the message that is under way longest, which has to be this one."""
        if not self._under_way or self._under_way[0].outgoing is not turn.outgoing:
            raise ServerTrouble("the server answers for another message")
        transaction = self._under_way.popleft()
        if not self._session.is_open:
            return transaction.in_doubt(f"no reply to the last chunk: {self._loss}")
        try:
            self._read(transaction)
            outcome = self._outcome(transaction)
        except ServerTrouble:
            raise
        except Exception as error:  # noqa: BLE001 - whatever ended the wait, the end is sent
            self._loss = str(error) or type(error).__name__
            self._session.drop()
            return transaction.in_doubt(f"no reply to the last chunk: {self._loss}")
        if not self._under_way:
            self._session.dialogue.endure(losses=False)
        faultpoint.reach("reply")
        return outcome

    def _read(self, transaction: Transaction) -> None:
        # The journal waits for each message's result as long as for one final reply.
        for phase, _ in transaction.unanswered[:-1]:
            left = max(transaction.deadline - time.monotonic(), 0)
            transaction.replies.append(check_reply(self._session.dialogue.read(left), phase))
        try:
            self._check_step(self._session.reply(Phase.RSET))
        except (ConnectionError, ServerTrouble) as error:
            if isinstance(error, GarbledReply):
                raise
            # It closes behind the message: what it has said of that stands.
            self._loss = str(error)
            self._session.drop()

    def _check_step(self, reply: Reply) -> None:
        """Raise GarbledReply for what isn't this server's reply to RSET.

        Replies to BDAT have no code of their own: after a line that nobody asked for, each reply
        would be taken for that to the next command, and a refusal be missed.
        """
        words = [word for word in reply.text.split() if not _DIGIT.search(word)]
        said = " ".join(words)  # without what may be of this moment only
        if is_refusal(reply) or (self._reset or said) != said:
            raise GarbledReply(f"an answer to something else: {reply}")
        self._reset = said

    def _outcome(self, transaction: Transaction) -> Outcome:
        """What the replies come to: the first part of the content that was refused decides."""
        said = transaction.replies[len(transaction.envelope.recipients) + 1 :]
        end = next((reply for reply in said if is_refusal(reply)), said[-1])
        if transaction.is_wanted and end.code in _NOT_UNDERSTOOD:
            raise _refusal(str(end))
        return transaction.outcome(end.verdict, str(end))


def _refusal(reply: str) -> ChunkingRefused:
    return ChunkingRefused(f"BDAT was offered, and refused: {reply}")


def _length(turn: Turn) -> int:
    """How many commands its transaction has."""
    return len(turn.outgoing.recipients) + 3  # MAIL, BDAT, RSET


def _length_of_first_part(data: bytes) -> int:
    """Bytes up to the first line's end, one at least: some servers refuse a chunk of none."""
    return max(1, len(data.partition(b"\r")[0]))
