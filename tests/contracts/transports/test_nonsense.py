"""Replies that are none, and replies that nobody asked for: never a false "sent"."""

from __future__ import annotations

import pytest

from tests.contracts.transports.kinds import Ability, shown_by
from tests.contracts.transports.wire import Wire, letter, letters
from tests.line import Once
from tests.scripted import Session

NONSENSE = {
    "garbage": b"garbage\r\n",
    "nothing": b"\r\n",
    "9 kB": b"250 " + b"x" * 9000 + b"\r\n",
    "999": b"999 no such code\r\n",
    "another code on each line": b"250-yes\r\nno\r\n",
}
USUAL = {
    "EHLO": b"250 scripted\r\n",
    "MAIL": b"250 OK\r\n",
    "RCPT": b"250 OK\r\n",
    "DATA": b"354 go ahead\r\n",
    "BDAT": b"250 OK\r\n",
}


@pytest.mark.parametrize("step", ["connect", "EHLO", "MAIL", "RCPT", "content"])
@pytest.mark.parametrize("reply", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_before_the_end_ends_the_connection(reply: bytes, step: str, wire: Wire) -> None:
    """The message goes over a new one, once, and at no cost."""
    wire.server.script = Once(wire.kind.step(step), reply)
    wire.send_out(letter("ann@example.com"))
    assert (wire.states(), wire.reached()) == (["sent"], ["ann@example.com"])
    assert wire.attempts() == [1]


@pytest.mark.parametrize("reply", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_for_a_reply_to_the_end_is_no_yes_and_no_refusal(reply: bytes, wire: Wire) -> None:
    """The message may have arrived: it is in doubt."""
    wire.server.script = Once("dot", reply)
    assert wire.send(letter("ann@example.com")) == {"uncertain": 1}
    assert wire.results() == {}


def test_354_is_no_reply_to_the_end(wire: Wire) -> None:
    """Nor is it one to anything but DATA."""
    wire.server.script = Once("dot", "354 go ahead")
    assert wire.send(letter("ann@example.com")) == {"uncertain": 1}
    assert wire.results() == {}


@shown_by(Ability.LISTENS)
@pytest.mark.parametrize("after", ["EHLO", "MAIL", "RCPT", "content"])
def test_a_line_that_nobody_asked_for_is_never_read_as_an_answer(after: str, wire: Wire) -> None:
    """An extra 250: replies would be off by one from there, and a refusal would read as sent."""
    step = wire.kind.step(after)
    extra = Once(step, USUAL[step] + b"250 extra\r\n")

    def script(session: Session, phase: str, command: str) -> bytes | str | None:
        refused = phase == "dot" and session.number == 1
        return "554 refused" if refused else extra(session, phase, command)

    wire.server.script = script
    wire.send_out(letter("ann@example.com"))
    assert wire.states() in (["sent"], ["failed"])
    assert (wire.states() == ["sent"]) == (wire.reached() == ["ann@example.com"])
    assert wire.attempts() == [1]


@shown_by(Ability.LISTENS)
@pytest.mark.parametrize("at", [2, 5])
@pytest.mark.parametrize("after", ["MAIL", "RCPT"])
def test_a_line_too_many_between_messages_makes_none_of_them_sent(
    after: str, at: int, wire: Wire
) -> None:
    """Whatever is refused after it doesn't read as sent, and what was answered before it does."""
    extra = Once(after, b"250 OK\r\n250 extra\r\n", at=at)

    def script(session: Session, phase: str, command: str) -> bytes | str | None:
        refused = phase == "dot" and session.number == 1 and extra.seen >= at
        return "554 refused" if refused else extra(session, phase, command)

    wire.server.script = script
    wire.send_out(*letters(8))
    arrived = set(wire.reached())
    states = {record.recipients[0]: record.state.value for record in wire.records()}
    assert {address for address, state in states.items() if state == "sent"} <= arrived
    assert set(states.values()) <= {"sent", "uncertain", "failed"}
    assert list(states.values())[: at - 1] == ["sent"] * (at - 1)
    assert len(wire.reached()) == len(arrived)


@shown_by(Ability.LISTENS)
def test_what_is_said_between_two_messages_ends_the_connection(wire: Wire) -> None:
    """The next message goes over a new one, whose replies are its own."""
    assert wire.send(letter("ann@example.com")) == {"sent": 1}
    wire.server.say(b"250 by the way\r\n")
    assert wire.send(letter("bob@example.com")) == {"sent": 1}
    assert (wire.server.sessions, wire.attempts()) == (2, [1, 1])
