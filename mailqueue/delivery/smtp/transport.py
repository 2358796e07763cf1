"""The queue's SMTP client: ``smtplib`` connects, and a message loop of our own sends.

``smtplib.SMTP.sendmail`` raises one exception for a whole message, forgets which recipients were
accepted, can't tell a connection that was lost before the final dot from one lost after it, and
waits four times for each message. A queue lives on these differences.
"""

from __future__ import annotations

import smtplib
from typing import Protocol

from mailqueue.backends.smtp import EmailBackend
from mailqueue.errors import MailqueueError

from ..envelope import Outgoing
from ..outcome import Outcome
from ..transport import Turn
from ..trouble import ServerTrouble, trouble_of
from .bdat import ByChunks, may_chunk
from .data import ByData
from .session import Session

_CONNECTION_ERRORS = (OSError, smtplib.SMTPException)


class Way(Protocol):
    """A way of sending messages over a session; the methods are those of the transport."""

    def is_amid(self) -> bool:
        """Whether a QUIT now would not be heard as one."""

    def is_busy(self) -> bool: ...
    def has_begun(self, outgoing: Outgoing) -> bool: ...
    def is_ready(self, outgoing: Outgoing) -> bool: ...
    def deliver(self, turn: Turn, room: int) -> Outcome: ...


class SmtpTransport:
    """One open SMTP connection, and the transactions over it.

    With ``in_flight`` above 1, where the server offers CHUNKING and PIPELINING, whole messages are
    sent by BDAT, at most ``in_flight`` of them before the first one's result is on record. Else
    they are sent by DATA: one by one it is as fast, and a connection that breaks amid a message
    leaves fewer in doubt.

    ``timeout`` (seconds) shortens the time-outs of RFC 5321 for all phases but the final reply:
    giving up on that one early would only make more messages uncertain. ``to_open``
    (seconds) bounds each step of opening.
    """

    def __init__(
        self,
        backend: EmailBackend,
        timeout: float | None = None,
        to_open: float = 300,
        in_flight: int = 1,
    ) -> None:
        if backend.timeout is None or backend.timeout > to_open:
            backend.timeout = to_open
        try:
            backend.open()
        except OSError as error:  # smtplib.SMTPException and ssl.SSLError are
            raise trouble_of(error) from error
        self._session = session = Session(backend, timeout, in_flight)
        chunks = in_flight > 1 and may_chunk(session)
        self._way: Way = ByChunks(session, in_flight) if chunks else ByData(session)

    @property
    def is_encrypted(self) -> bool:
        """Whether it was opened with TLS, from its start or by STARTTLS."""
        return self._session.is_encrypted

    @property
    def own_name(self) -> str:
        """By what name the server was greeted."""
        return self._session.own_name

    def forgo_chunks(self) -> None:
        """Send by DATA, whatever the server offers; called before the first message."""
        self._way = ByData(self._session)

    @property
    def login(self) -> str:
        """Who is logged in, and how, for people; empty for nobody."""
        return self._session.login

    def close(self) -> None:
        """Say QUIT and close."""
        if self._way.is_amid():
            self.drop()
        else:
            self._session.close()

    def drop(self) -> None:
        """Close without a word: what the peer would answer can't be trusted any more."""
        self._session.drop()

    def is_usable(self) -> bool:
        """Whether the server has neither closed the idle connection nor said anything unasked."""
        if not self._session.is_open:
            return False
        return self._way.is_amid() or not self._session.dialogue.has_unread()

    def is_busy(self) -> bool:
        """Whether messages are under way whose replies were not read."""
        return self._way.is_busy()

    def has_begun(self, outgoing: Outgoing) -> bool:
        """Whether that message is under way, or the server waits for its content."""
        return self._way.has_begun(outgoing)

    def is_ready(self, outgoing: Outgoing) -> bool:
        """Whether that message's commit, or its reply, is what comes first."""
        return self._way.is_ready(outgoing)

    def deliver(self, turn: Turn, *, room: int = 1) -> Outcome:
        """Send one message, and begin with those that come next where there is room for them.

        Raises ServerTrouble where the fault is the server's or the connection's and the message
        was surely not accepted, StaleClaim where the turn's ``commit`` said no. After any
        exception but the latter, ``drop`` the transport; of what is still under way it then says
        that it is in doubt.
        """
        try:
            return self._way.deliver(turn, room)
        except MailqueueError:
            raise  # some of them are OSErrors too, but none of them speaks of this connection
        except _CONNECTION_ERRORS as error:
            raise ServerTrouble(f"connection lost: {error}") from error
