"""The transports that the suite is run against, and what each of them can't show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from mailqueue.backends import smtp

_OWN_SMTP = "mailqueue.backends.smtp.EmailBackend"
_DJANGOS = "django.core.mail.backends.smtp.EmailBackend"
_STEPS = {"content": "DATA", "end": "dot"}
Test = TypeVar("Test", bound=Callable[..., None])


class Backend(smtp.EmailBackend):
    """A project's own, which is called as any Django-style backend is."""


class Ability(StrEnum):
    """What a transport may be unable to show."""

    EARLY = "reads a refusal while it writes the content"
    TIMES = "waits for each reply as long as RFC 5321 says"
    SPELLINGS = "asks once for a mailbox that is spelled in two ways"
    LISTENS = "hears what nobody asked for"
    LIMITS = "asks what the server can do before MAIL"
    EIGHT_BITS = "writes in seven bits for a server without 8BITMIME"
    RENDERS = "sends the message as mailqueue renders it"
    NAMES = "refuses a header's name that holds a line's end"
    UTF8 = "sends to addresses outside ASCII"
    AT_THE_END = "commits a long content when all but its end is written"
    AHEAD = "writes the next message's envelope before a message is answered"
    CHUNKS = "sends by BDAT"
    ONE_BY_ONE = "has one message at a time between its end and its reply"


_ONE_CALL = "a backend is called with a whole message, and says at its end what came of it"
_BACKEND = {
    Ability.EARLY: "smtplib writes all of a content before it reads",
    Ability.TIMES: "smtplib has one time-out for all",
    Ability.LISTENS: "smtplib reads whatever is there as the reply to its last command",
    Ability.LIMITS: "smtplib tells the server a message's size, and has it refuse the message",
    Ability.RENDERS: "a backend has the message build itself, with boundaries of the moment",
    Ability.AT_THE_END: _ONE_CALL,
    Ability.AHEAD: _ONE_CALL,
    Ability.CHUNKS: "smtplib sends by DATA",
}
_ONE_AT_A_TIME = {Ability.CHUNKS: "BDAT is for several messages under way"}


@dataclass(frozen=True)
class Kind:
    """A transport: what its server offers, what the settings name, and what it can't show."""

    name: str
    features: tuple[str, ...]
    cannot: Mapping[Ability, str] = field(default_factory=dict)
    backend: str = _OWN_SMTP
    in_flight: int = 1
    opening: tuple[str, ...] = ("connect", "EHLO")  # the steps before any message is at hand

    def __str__(self) -> str:
        return self.name

    @property
    def renders(self) -> bool:
        """Whether the bytes are ours, and what is wrong with them is ours to find."""
        return self.backend == _OWN_SMTP

    @property
    def uses_django(self) -> bool:
        """Whether Django has to be configured for it."""
        return self.backend == _DJANGOS

    @property
    def last_moment(self) -> str:
        """The first message's last step before its commit, in a connection."""
        return "RCPT" if self.backend == _OWN_SMTP else "connect"

    def can(self, *abilities: Ability) -> bool:
        return not any(ability in self.cannot for ability in abilities)

    def settings(self, port: int, timeout: float | None = None) -> dict[str, Any]:
        """What is set, in ours as in Django's words; ``timeout`` in seconds."""
        return {
            "EMAIL_HOST": "127.0.0.1",
            "EMAIL_PORT": port,
            "EMAIL_TIMEOUT": timeout,
            "MAILQUEUE": {"BACKEND": self.backend, "IN_FLIGHT": self.in_flight},
        }

    def step(self, phase: str) -> str:
        """The phase by this transport's commands: the content begins with DATA or BDAT."""
        return (
            "BDAT" if phase == "content" and self.can(Ability.CHUNKS) else _STEPS.get(phase, phase)
        )


_BASICS = ("8BITMIME", "SIZE 100000000", "SMTPUTF8")
_CHUNKING = (*_BASICS, "PIPELINING", "CHUNKING")
_UNDER_WAY = {Ability.ONE_BY_ONE: "the next message's end is written before the reply"}
KINDS = (
    Kind(
        "DATA",
        _BASICS,
        {**_ONE_AT_A_TIME, Ability.AHEAD: "the server doesn't take commands in advance"},
    ),
    Kind("DATA pipelined", (*_BASICS, "PIPELINING"), _ONE_AT_A_TIME),
    Kind("BDAT two under way", _CHUNKING, _UNDER_WAY, in_flight=2),
    Kind("BDAT ten under way", _CHUNKING, _UNDER_WAY, in_flight=10),
    Kind("backend", _BASICS, _BACKEND, f"{__name__}.Backend"),
    Kind(
        "Django's backend",
        _BASICS,
        {
            **_BACKEND,
            Ability.EIGHT_BITS: "Django's backend doesn't ask for 8BITMIME",
            Ability.NAMES: "Django before 6.0 writes a header's name as it is",
            Ability.SPELLINGS: "Django's backend asks for each address as it stands",
            Ability.UTF8: "Django's backend writes such an address as an encoded word",
        },
        _DJANGOS,
        opening=("connect",),  # EHLO is the first message's
    ),
)


def shown_by(*abilities: Ability) -> Callable[[Test], Test]:
    """Have a test run for those transports only that have all of these abilities."""

    def mark(test: Test) -> Test:
        vars(test)["abilities"] = abilities
        return test

    return mark


def kinds_for(test: Callable[..., None]) -> list[Kind]:
    """The transports that a test is for."""
    return [kind for kind in KINDS if kind.can(*vars(test).get("abilities", ()))]
