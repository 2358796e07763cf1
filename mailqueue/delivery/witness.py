"""What a server says while somebody's backend sends over ``smtplib``.

``sendmail()`` returns those recipients who were refused, and backends throw that away. It takes 252
for a refusal, and it doesn't tell whether a lost connection had carried the message's end.
"""

from __future__ import annotations

import smtplib
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .envelope import bare_address
from .outcome import Answer, Reply, Verdict, answer_to_rcpt
from .trouble import as_text, describe

_OK = 250  # the only reply to MAIL and DATA that sendmail() takes for one that accepts
# What was written by the time that the reply to the content is waited for: DATA, and the content.
_END_WRITTEN = 2


class Transcript:
    """What the server said of one message: an answer for each recipient that has its own."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}  # by bare address
        self.has_begun = False  # whether anything was said to the server
        self._accepted: list[str] = []  # by RCPT, in the transaction that is open

    def note_mail(self) -> None:
        """Begin a transaction."""
        self._accepted = []

    def note_rcpt(self, address: str, reply: Reply) -> None:
        """Note the reply to one recipient."""
        answer = answer_to_rcpt(reply, bool(self._accepted))
        if answer.verdict is Verdict.ACCEPTED:
            self._accepted.append(bare_address(address))
        else:
            self.answers[bare_address(address)] = answer

    def note_end(self, answer: Answer) -> None:
        """Note what became of the content, for all whom RCPT accepted."""
        self.answers |= dict.fromkeys(self._accepted, answer)
        self._accepted = []


def witness(connection: object) -> Transcript | None:
    """Have an ``smtplib.SMTP`` note what the server says from now on; None for anything else."""
    if not isinstance(connection, smtplib.SMTP):
        return None
    noting: Any = connection
    if not isinstance(connection, _Noting):
        kind: Any = type(connection)
        noting.__class__ = _noting_class(kind)
    noting.transcript = Transcript()
    found: Transcript = noting.transcript
    return found


if TYPE_CHECKING:
    _Base = smtplib.SMTP
else:
    _Base = object


class _Noting(_Base):
    """What is put before the class of a connection. Any 2yz accepts (RFC 5321 4.2.1)."""

    transcript: Transcript
    _writes = 0

    def mail(self, *args: Any, **options: Any) -> tuple[int, bytes]:
        self.transcript.note_mail()
        return _read(super().mail(*args, **options))

    def rcpt(self, recip: str, *args: Any, **options: Any) -> tuple[int, bytes]:
        code, text = super().rcpt(recip, *args, **options)
        self.transcript.note_rcpt(recip, Reply(code, as_text(text)))
        return _read((code, text))

    def data(self, msg: Any) -> tuple[int, bytes]:
        self._writes = 0
        try:
            code, text = super().data(msg)
        except smtplib.SMTPDataError as error:  # the reply to DATA itself
            reply = Reply(error.smtp_code, as_text(error.smtp_error))
            self.transcript.note_end(Answer(reply.verdict, str(reply)))
            raise
        except Exception as error:
            if self._writes >= _END_WRITTEN:
                reason = f"no reply to the message's end: {describe(error)}"
                self.transcript.note_end(Answer(Verdict.IN_DOUBT, reason))
            raise
        self.transcript.note_end(_answer_to_end(Reply(code, as_text(text))))
        return _read((code, text))

    def getreply(self) -> tuple[int, bytes]:
        """Read a reply. After one that makes no sense nobody knows which is for what."""
        try:
            code, text = super().getreply()
        except smtplib.SMTPResponseException as error:  # a line that is too long
            raise smtplib.SMTPServerDisconnected(f"unreadable reply: {error}") from error
        if not 200 <= code < 600:
            self.close()
            raise smtplib.SMTPServerDisconnected(f"unreadable reply: {as_text(text)}")
        return code, text

    def putcmd(self, *args: Any) -> None:
        self.transcript.has_begun = True
        super().putcmd(*args)

    def send(self, s: Any) -> None:
        super().send(s)
        self._writes += 1


def _read(reply: tuple[int, bytes]) -> tuple[int, bytes]:
    code, text = reply
    return (_OK if 200 <= code < 300 else code), text


def _answer_to_end(reply: Reply) -> Answer:
    """What the final reply says; one to something else leaves open whether the server has it."""
    readable = not 300 <= reply.code < 400
    return Answer(reply.verdict if readable else Verdict.IN_DOUBT, str(reply))


@lru_cache(maxsize=16)
def _noting_class(kind: Any) -> type[Any]:
    return type(kind.__name__, (_Noting, kind), {"__module__": kind.__module__})
