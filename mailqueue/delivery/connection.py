"""A connection to a mailer: opened when needed, kept between tasks, closed in time."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from .envelope import Outgoing
from .fault import machine_trouble
from .gate.breaker import Breaker, LocalBreaker, View
from .outcome import Outcome, Verdict
from .refusal import SEE_LOGIN, Blame, advice, blame_for
from .transport import Transport, Turn
from .trouble import (
    ChunkingRefused,
    MachineTrouble,
    Misconfigured,
    Paused,
    ServerTrouble,
    StaleClaim,
    Withheld,
)

# Seconds for which nothing is claimed where the machine is in trouble: each rest is twice the one
# before.
_FIRST_REST, _LONGEST_REST = 1.0, 30.0
_LOOK_AGAIN = 300.0  # seconds until a message is tried again whose refusal may be our own mistake


@dataclass(frozen=True)
class Limits:
    """When an open connection is closed: after so many messages, or so many seconds."""

    max_messages: int
    max_age: float
    idle: float


class Connection:
    """A connection to whatever delivers; one task at a time may use it.

    Before it opens it asks the ``breaker``, which keeps it away from a server in trouble for a
    while, longer each time; then ``deliver`` raises Paused without trying.
    """

    def __init__(
        self,
        open_transport: Callable[[], Transport],
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
        breaker: Breaker | None = None,
        name: str = "the mail server",
    ) -> None:
        self.name = name
        self._open_transport = open_transport
        self._limits = limits
        self._breaker = breaker or LocalBreaker(clock=clock)
        self._clock = clock
        self._lock = threading.RLock()
        self._transport: Transport | None = None
        self._lost: Transport | None = None  # to be asked about what was under way over it
        self._opened = self._used = 0.0
        self._messages = 0
        self._not_before = 0.0
        self._rests = 0  # in a row, of which the newest ends then
        self._rests_until = self._sent_at = -math.inf
        self._is_given_up = False  # nothing more is begun over the open connection

    @property
    def pause(self) -> float:
        """Seconds until it is worth while to ask the breaker again."""
        return max(0.0, max(self._not_before, self._rests_until) - self._clock())

    @property
    def idle(self) -> float | None:
        """Seconds since it last brought a message to an answer, None for never."""
        return None if self._sent_at == -math.inf else self._clock() - self._sent_at

    def rest(self) -> float:
        """Claim nothing for a while, since the machine is in trouble; return how many seconds."""
        rest: float = min(_FIRST_REST * 2 ** min(self._rests, 30), _LONGEST_REST)
        self._rests += 1
        self._rests_until = self._clock() + rest
        return rest

    def has_recovered(self) -> bool:
        """Whether it works again after a rest; said once."""
        rests, self._rests = self._rests, 0
        return rests > 0

    @property
    def is_open(self) -> bool:
        """Whether the next message needs none to be opened, as far as is known."""
        return self._transport is not None

    def is_paused(self) -> bool:
        """Whether to claim no messages now; this asks the breaker, unless a connection is open."""
        with self._lock:
            if self._clock() < self._rests_until:
                return True
            if self._transport is not None and not self._is_given_up:
                self._breaker.watch()
                return False
            return self._is_kept_away(self._breaker.look())

    def _is_kept_away(self, view: View) -> bool:
        self._not_before = self._clock() + view.wait
        return view.wait > 0

    def deliver(self, turn: Turn) -> Outcome:
        """Send one message, over a new connection where the open one turns out to be lost."""
        with self._lock:
            if self._lost is not None and not self._lost.has_begun(turn.outgoing):
                self._lost = None
            try:
                outcome = self._deliver(turn)
            except Paused:
                raise
            except Exception as error:
                self._note_error(error)
                raise
            self._sent_at = self._clock()
            self._judge(turn.outgoing, outcome)
            return outcome

    def _note_error(self, error: Exception) -> None:
        """Tell the breaker, unless it is the machine's fault. That raises MachineTrouble."""
        if isinstance(error, ServerTrouble):
            found = machine_trouble(error)
            if found is not None:
                raise found from error
            self._note_failure(error)
        elif not isinstance(error, MachineTrouble):
            self._breaker.note_success()  # it is the message's fault, or the journal's

    def _note_failure(self, trouble: ServerTrouble) -> None:
        self._not_before = self._clock() + self._breaker.note_failure(trouble)

    def _judge(self, outgoing: Outgoing, outcome: Outcome) -> None:
        """Tell the breaker what came of it. Raises Withheld for what is, or may be, our mistake."""
        if any(answer.verdict is Verdict.ACCEPTED for answer in outcome.answers.values()):
            self._breaker.note_accepted()
            self._breaker.note_success()
            return
        reply = next(iter(outcome.answers.values())).reply if outcome.answers else ""
        blame = blame_for(outcome, encrypted=self._is_encrypted)
        if blame is Blame.OURS:
            self._give_up(Misconfigured(advice(reply)))
        if blame is Blame.DOUBTFUL:
            blame = self._breaker.note_refusal(outgoing.id)
            if blame is Blame.OURS:
                self._give_up(Misconfigured(f"{reply} ({SEE_LOGIN})"), _LOOK_AGAIN)
        self._breaker.note_success()
        if blame is Blame.DOUBTFUL:
            raise Withheld(reply, _LOOK_AGAIN)

    def _give_up(self, trouble: Misconfigured, wait: float = 0) -> NoReturn:
        """Begin nothing more over this connection; what is under way gets its answers.

        With a ``wait`` (seconds), other messages are tried before the one at hand.
        """
        self._note_failure(trouble)
        if self._transport is not None and self._transport.is_busy():
            self._is_given_up = True
        else:
            self.close()
        if wait or self._is_given_up:
            raise Withheld(trouble.reply, wait or self.pause)
        raise trouble

    @property
    def _is_encrypted(self) -> bool:
        transport = self._transport or self._lost
        return transport is not None and transport.is_encrypted

    def has_begun(self, outgoing: Outgoing) -> bool:
        """Whether that message is under way, or the server waits for its content already."""
        return self._of(outgoing) is not None

    def is_ready(self, outgoing: Outgoing) -> bool:
        """Whether that message's commit, or its reply, is what comes first."""
        begun = self._of(outgoing)
        if begun is not None:
            return begun.is_ready(outgoing)
        transport = self._transport
        return transport is not None and not self._is_worn_out() and transport.is_ready(outgoing)

    def _of(self, outgoing: Outgoing) -> Transport | None:
        """The transport by which that message has begun."""
        for transport in (self._lost, self._transport):
            if transport is not None and transport.has_begun(outgoing):
                return transport
        return None

    def _deliver(self, turn: Turn) -> Outcome:
        kept = self._transport
        try:
            return self._attempt(turn)
        except ServerTrouble as trouble:
            # A server may close a kept connection at any time; only a new one that fails is news.
            was_kept = kept is not None and self._lost is kept
            if isinstance(trouble, ChunkingRefused):
                self._breaker.note_no_chunks()
            elif not was_kept:
                raise
            return self._attempt(turn)

    def _attempt(self, turn: Turn) -> Outcome:
        transport = self._ready_transport(turn)
        try:
            return transport.deliver(turn, room=self._room())
        except StaleClaim:
            raise  # the connection's fault it isn't
        except BaseException:
            # Whatever it was: a connection on which anything went wrong is never used again.
            self._transport, self._lost = None, transport
            transport.drop()
            raise
        finally:
            self._used = self._clock()
            self._messages += 1

    def _room(self) -> int:
        """How many messages, that at hand included, the connection may still carry."""
        in_doubt = self._lost is not None and self._lost.is_busy()  # and not to be sent again
        return 1 if in_doubt or self._is_over() else self._limits.max_messages - self._messages

    def _ready_transport(self, turn: Turn) -> Transport:
        begun = self._of(turn.outgoing)
        if begun is not None:
            return begun
        if self._transport is not None and (self._is_worn_out() or not self._transport.is_usable()):
            self.close()
        if self._transport is None:
            # That may take long: no result waits for it, and no claim that nobody knows of.
            turn.commit(0)
            turn.collect()
            self._transport = self._open_new_transport()
            self._opened = self._used = self._clock()
            self._messages, self._is_given_up = 0, False
        return self._transport

    def _open_new_transport(self) -> Transport:
        view = self._breaker.ask()
        if self._is_kept_away(view):
            raise Paused(view.reason)
        try:
            transport = self._open_transport()
        except ServerTrouble:
            raise
        except Exception as error:
            # A wrong BACKEND, TLS and SSL at once, a password that can't be encoded: our own
            # mistake, for which no message may fail. They wait until it is mended.
            raise Misconfigured(f"can't open: {type(error).__name__}: {error}") from error
        if not view.chunks:
            transport.forgo_chunks()
        return transport

    def _is_worn_out(self) -> bool:
        return self._messages >= self._limits.max_messages or self._is_over()

    def _is_over(self) -> bool:
        """Whether nothing more is to be begun, however few messages it has carried."""
        return self._is_given_up or self._clock() - self._opened >= self._limits.max_age

    def close_if_idle(self) -> None:
        """Close when nothing was sent for too long; called from another thread."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            is_idle = self._clock() - self._used >= self._limits.idle
            if self._transport is not None and is_idle and not self._transport.is_busy():
                self.close()
        finally:
            self._lock.release()

    def close(self) -> None:
        """Close, politely; the next message opens anew."""
        with self._lock:
            transport, self._transport = self._transport, None
            if transport is not None:
                transport.close()
