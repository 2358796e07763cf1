"""One SMTP transaction: its envelope, and what the server answers to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from .outcome import Answer, Outcome, Reply, Verdict
from .rendering import Envelope, Outgoing

_TOO_MANY_RECIPIENTS = (452, 552)  # RFC 5321 4.5.3.1.10: 452, or 552 from older servers


class Phase(StrEnum):
    """How far a transaction has come."""

    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    BODY = "message body"
    DOT = "final dot"
    RSET = "RSET"


# Seconds, by RFC 5321 4.5.3.2.
PHASE_TIMEOUTS: Mapping[Phase, float] = {
    Phase.MAIL: 300,
    Phase.RCPT: 300,
    Phase.DATA: 120,
    Phase.BODY: 180,
    Phase.DOT: 600,
    Phase.RSET: 300,
}


@dataclass
class Transaction:
    """An envelope on the wire: the commands that were written, and what was answered."""

    outgoing: Outgoing
    envelope: Envelope
    commands: Sequence[tuple[Phase, str]]
    replies: list[Reply] = field(default_factory=list)

    @property
    def unanswered(self) -> Sequence[tuple[Phase, str]]:
        """The commands to which no reply was read yet."""
        return self.commands[len(self.replies) :]

    @property
    def answers(self) -> dict[str, Answer]:
        """What was answered for each recipient, of those that were asked for."""
        refused = self.replies[0].verdict is not Verdict.ACCEPTED
        replies = [self.replies[0]] * len(self.envelope.recipients) if refused else self.replies[1:]
        found: dict[str, Answer] = {}
        some = False
        for address, reply in zip(self.envelope.recipients, replies, strict=False):
            left = some and reply.code in _TOO_MANY_RECIPIENTS
            some = some or reply.verdict is Verdict.ACCEPTED
            found[address] = Answer(Verdict.LEFT if left else reply.verdict, str(reply))
        return found

    @property
    def accepted(self) -> list[str]:
        """The recipients for whom the server will take the message."""
        return [a for a, answer in self.answers.items() if answer.verdict is Verdict.ACCEPTED]

    def outcome(self, verdict: Verdict, reply: str) -> Outcome:
        """The outcome where the recipients that were accepted share an answer."""
        answers = {**self.answers, **Outcome.for_all(self.accepted, verdict, reply).answers}
        return Outcome(
            {
                spelling: answer
                for address, answer in answers.items()
                for spelling in self.envelope.spellings[address]
            }
        )
