"""One SMTP transaction: its envelope, and what the server answers to it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from ..envelope import Envelope, Outgoing
from ..outcome import Answer, Outcome, Reply, Verdict, answers_to_rcpt


class Phase(StrEnum):
    """How far a transaction has come."""

    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    CHUNK = "BDAT"
    BODY = "message body"
    DOT = "final dot"
    RSET = "RSET"


# Seconds, by RFC 5321 4.5.3.2.
PHASE_TIMEOUTS: Mapping[Phase, float] = {
    Phase.MAIL: 300,
    Phase.RCPT: 300,
    Phase.DATA: 120,
    Phase.CHUNK: 180,  # as for a part of the content: RFC 3030 names none
    Phase.BODY: 180,
    Phase.DOT: 600,
    Phase.RSET: 300,
}


Command = tuple[Phase, str]


def encode(commands: Iterable[Command]) -> bytes:
    """The commands as they go over the wire."""
    return "".join([f"{line}\r\n" for _, line in commands]).encode("utf-8")


@dataclass
class Transaction:
    """An envelope on the wire: the commands that were written, and what was answered."""

    outgoing: Outgoing
    envelope: Envelope
    commands: list[Command]
    replies: list[Reply] = field(default_factory=list)
    deadline: float = math.inf  # on the monotonic clock, for the last of the replies

    @property
    def unanswered(self) -> Sequence[Command]:
        """The commands to which no reply was read yet."""
        return self.commands[len(self.replies) :]

    @property
    def answers(self) -> dict[str, Answer]:
        """What was answered for each recipient, of those that were asked for."""
        if not self.replies:
            return {}
        if _accepts(self.replies[0]):
            return answers_to_rcpt(self.envelope.recipients, self.replies[1:])
        to_mail = Answer(self.replies[0].verdict, str(self.replies[0]))
        return dict.fromkeys(self.envelope.recipients, to_mail)

    @property
    def is_wanted(self) -> bool:
        """Whether the server will take the message for anybody."""
        replies = self.replies[: len(self.envelope.spellings) + 1]
        return bool(replies) and _accepts(replies[0]) and any(map(_accepts, replies[1:]))

    def outcome(self, verdict: Verdict, reply: str) -> Outcome:
        """The outcome where the recipients that were accepted share an answer."""
        return self._spell(self.answers, Answer(verdict, reply))

    def in_doubt(self, reason: str) -> Outcome:
        """The outcome where nobody reads on: who wasn't refused may have the message."""
        doubt = Answer(Verdict.IN_DOUBT, reason)
        unanswered = dict.fromkeys(self.envelope.recipients, doubt)
        return self._spell({**unanswered, **self.answers}, doubt)

    def _spell(self, answers: Mapping[str, Answer], accepted: Answer) -> Outcome:
        """By the spellings under which the message knows its recipients.

        Those that were accepted get the answer that is theirs together.
        """
        return Outcome(
            {
                spelling: accepted if answer.verdict is Verdict.ACCEPTED else answer
                for address, answer in answers.items()
                for spelling in self.envelope.spellings[address]
            },
            turned_away=not self.is_wanted,
        )


def _accepts(reply: Reply) -> bool:
    return reply.verdict is Verdict.ACCEPTED
