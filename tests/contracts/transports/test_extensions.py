"""What a server says that it can do, and what is sent to one that can't."""

from __future__ import annotations

import pytest

from tests.contracts.transports.kinds import Ability, shown_by
from tests.contracts.transports.wire import Wire, letter
from tests.scripted import Session

LARGE = "A line of the letter.\n" * 1000


@shown_by(Ability.LIMITS)
def test_a_message_beyond_the_servers_size_fails_before_mail(make_wire) -> None:
    """By what SIZE says; the message after it is sent over the same connection."""
    wire = make_wire(features=("SIZE 10000",))
    assert wire.send(letter(body=LARGE), letter()) == {"failed": 1, "sent": 1}
    reply = wire.record().reply
    assert reply.startswith("552 the message has ")
    assert reply.endswith("the server takes at most 10000")
    assert (wire.server.verbs().count("MAIL"), wire.server.sessions) == (1, 1)


@shown_by(Ability.LIMITS)
@pytest.mark.parametrize("offer", ["SIZE", "SIZE 0", "SIZE what"])
def test_a_server_that_names_no_limit_is_given_the_size(offer: str, make_wire) -> None:
    """It has none, or doesn't say; each message's size goes along with MAIL."""
    wire = make_wire(features=(offer,))
    assert wire.send(letter(body=LARGE)) == {"sent": 1}
    (said,) = [command for _, command in wire.server.commands if command.startswith("MAIL")]
    assert f"SIZE={len(wire.accepted[0].content)}" in said


def test_a_message_that_the_server_finds_too_large_has_failed(wire: Wire) -> None:
    """552 to MAIL, by its size, is a refusal for good."""

    def script(session: Session, phase: str, command: str) -> str | None:
        return "552 5.3.4 too large" if phase == "MAIL" and wire.server.sessions == 1 else None

    wire.server.script = script
    assert wire.send(letter(body=LARGE)) == {"failed": 1}
    assert (wire.record().reply, wire.accepted) == ("552 5.3.4 too large", [])


@shown_by(Ability.UTF8)
def test_an_address_outside_ascii_goes_as_it_is(wire: Wire) -> None:
    """To a server with SMTPUTF8, which is told of it with MAIL."""
    assert wire.send(letter("jörg@example.com")) == {"sent": 1}
    assert wire.reached() == ["jörg@example.com"]
    said = [c.upper() for _, c in wire.server.commands if c.upper().startswith("MAIL")]
    assert ["SMTPUTF8" in command for command in said] == [True]


@shown_by(Ability.LIMITS)
def test_without_smtputf8_an_address_outside_ascii_fails_before_mail(make_wire) -> None:
    """The error says why, and the message after it is sent."""
    wire = make_wire(features=("8BITMIME",))
    assert wire.send(letter("jörg@example.com"), letter()) == {"failed": 1, "sent": 1}
    reply = "553 an address is not ASCII, and the server does not offer SMTPUTF8"
    assert wire.results() == {"jörg@example.com": ("failed", reply)}
    assert wire.server.verbs().count("MAIL") == 1


def test_a_domain_outside_ascii_needs_no_extension(make_wire) -> None:
    """It goes over the wire as DNS knows it."""
    wire = make_wire(features=())
    assert wire.send(letter("ann@köln.example")) == {"sent": 1}
    assert wire.reached() == ["ann@xn--kln-sna.example"]


@shown_by(Ability.LIMITS)
def test_nothing_is_written_ahead_to_a_server_without_pipelining(make_wire) -> None:
    """Each command waits for the reply to the last, also where CHUNKING is offered."""
    early = []
    wire = make_wire(features=("CHUNKING", "8BITMIME"))

    def script(session: Session, phase: str, command: str) -> None:
        if phase in {"MAIL", "RCPT", "DATA", "dot"}:
            early.append(session.has_more())

    wire.server.script = script
    assert wire.send(letter(), letter()) == {"sent": 2}
    assert early == [False] * 8
    assert "BDAT" not in wire.server.verbs()
