"""What a server's replies mean: what an attempt came to, recipient by recipient."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

_TOO_MANY_RECIPIENTS = (452, 552)


class Verdict(StrEnum):
    """What a reply means (RFC 5321 4.2.1), and what it means that there was none; worst last."""

    ACCEPTED = "accepted"
    LEFT = "left"  # the server takes no more recipients at once: for the next transaction
    DEFERRED = "deferred"  # 4yz: refused for now
    REFUSED = "refused"  # 5yz: refused for good
    IN_DOUBT = "in doubt"  # the final dot was sent, and no reply came


@dataclass(frozen=True)
class Reply:
    """A server's reply, or our own reason in the same form."""

    code: int
    text: str

    @cached_property  # a reply that comes again and again is the same object
    def verdict(self) -> Verdict:
        """What the reply's first digit says; 252 accepts like any 2yz."""
        if 200 <= self.code < 300:
            return Verdict.ACCEPTED
        return Verdict.REFUSED if 500 <= self.code < 600 else Verdict.DEFERRED

    def __str__(self) -> str:
        return f"{self.code} {self.text}".strip()


class Answer(NamedTuple):
    """The verdict on one recipient, and the reply that it rests on."""

    verdict: Verdict
    reply: str


def answers_to_rcpt(recipients: Iterable[str], replies: Iterable[Reply]) -> dict[str, Answer]:
    """What the replies to RCPT mean for each recipient, as far as there are any.

    452, or 552 from older servers, says behind an accepted recipient that there are too many for
    one transaction (RFC 5321 4.5.3.1.10). Else they mean what their first digit says.
    """
    found: dict[str, Answer] = {}
    some = False
    for address, reply in zip(recipients, replies, strict=False):
        found[address] = answer_to_rcpt(reply, some)
        some = some or reply.verdict is Verdict.ACCEPTED
    return found


def answer_to_rcpt(reply: Reply, some: bool) -> Answer:
    """The same for one recipient, behind ``some`` that were accepted or behind none."""
    left = some and reply.code in _TOO_MANY_RECIPIENTS
    return Answer(Verdict.LEFT if left else reply.verdict, str(reply))


@dataclass(frozen=True)
class Outcome:
    """The answers to one attempt, for each recipient that was tried.

    ``turned_away``: the server wanted none of its content. ``is_whole``: nobody else than those who
    are said to be accepted can have got it.
    """

    answers: Mapping[str, Answer]
    turned_away: bool = False
    is_whole: bool = True

    @classmethod
    def for_all(cls, recipients: Iterable[str], verdict: Verdict, reply: str) -> Outcome:
        """The same answer for every recipient: a reply to MAIL, DATA or the final dot."""
        return cls({recipient: Answer(verdict, reply) for recipient in recipients})


def printable(text: str) -> str:
    """A reply as one line of printable text; servers put anything into theirs."""
    line = " ".join(text.split())
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
