"""What an attempt to deliver a message came to, recipient by recipient."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from .errors import MailqueueError


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


@dataclass(frozen=True)
class Outcome:
    """The answers to one attempt, for each recipient that was tried."""

    answers: Mapping[str, Answer]

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


class ServerTrouble(MailqueueError):
    """The server can't be used now: connect, TLS, banner, EHLO, AUTH, a 421, a lost connection.

    It is nobody's fault that the message at hand could have mended, so it costs it no attempt. The
    message was surely not accepted. ``reply`` says what happened.
    """

    def __init__(self, reply: str) -> None:
        super().__init__(reply)
        self.reply = reply


class Misconfigured(ServerTrouble):
    """Trouble that is our own mistake, so that only a person can mend it.

    A login refused, a certificate that isn't valid, a backend that doesn't exist.
    """


class ChunkingRefused(ServerTrouble):
    """The server refused BDAT, which it had offered: another connection does without."""


class Paused(ServerTrouble):
    """The server was not even tried: it is left alone for a while. ``reply`` says since what."""


class StaleClaim(MailqueueError):
    """The message was taken over by another worker: the final dot must not be sent."""
