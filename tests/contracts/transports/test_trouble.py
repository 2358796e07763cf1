"""Servers that close, reset, fall silent or say 421: what was surely not sent is sent once more."""

from __future__ import annotations

import threading

import pytest

from tests.contracts.transports.kinds import Ability, shown_by
from tests.contracts.transports.wire import Wire, letter, letters, wait_for_the_end
from tests.line import Once
from tests.scripted import CLOSE, RESET, Session

BEFORE_THE_END = ["connect", "EHLO", "MAIL", "RCPT", "content"]
LONG = "A line of the letter.\n" * 30_000  # 660 kB, more than is written at once


def copies(wire: Wire) -> list[str]:
    """The recipients of all that was accepted, sorted."""
    return sorted(wire.reached())


@pytest.mark.parametrize("step", [*BEFORE_THE_END, "end"])
def test_a_421_is_the_servers_trouble(step: str, wire: Wire) -> None:
    """Wherever it comes: nothing was sent, nobody is charged, and all go over another connection.

    Of what was under way behind it nothing is known.
    """
    wire.server.script = Once(wire.kind.step(step), "421 4.3.2 going down")
    wire.send_out(*letters(2))
    assert set(wire.attempts()) == {1}
    assert "failed" not in wire.states()
    assert len(set(copies(wire))) == len(copies(wire)) == 2
    if wire.kind.can(Ability.ONE_BY_ONE):
        assert wire.states() == ["sent", "sent"]


@pytest.mark.parametrize("step", BEFORE_THE_END)
def test_a_421_to_a_new_connection_has_the_mailer_left_alone(step: str, wire: Wire) -> None:
    """Nobody is charged, and nothing more is tried until the pause is over."""
    # smtplib says HELO where EHLO is refused.
    # To BDAT that may be a proxy's answer, so that DATA is tried as well.
    more = {"EHLO": {"HELO"}, "content": {"DATA"}}.get(step, set())
    steps = {wire.kind.step(step)} | more
    wire.server.script = lambda _, phase, __: "421 4.3.2 down" if phase in steps else None
    assert wire.send(*letters(3)) == {}
    assert wire.is_left_alone()
    assert set(wire.attempts()) == {0}
    assert "421 4.3.2 down" in wire.record().reply
    assert wire.server.sessions == (2 if "BDAT" in steps else 1)


@pytest.mark.parametrize("how", [CLOSE, RESET], ids=["closed", "reset"])
@pytest.mark.parametrize("step", BEFORE_THE_END)
def test_a_connection_lost_before_the_end_makes_no_copy(step: str, how: bytes, wire: Wire) -> None:
    """Nothing was sent, so it is sent over the next connection, at no cost."""
    wire.server.script = Once(wire.kind.step(step), how)
    wire.send_out(letter("ann@example.com"))
    assert (wire.states(), copies(wire)) == (["sent"], ["ann@example.com"])
    assert wire.attempts() == [1]


@pytest.mark.parametrize("how", [CLOSE, RESET], ids=["closed", "reset"])
def test_a_connection_lost_in_the_content_makes_no_copy(how: bytes, wire: Wire) -> None:
    """A long content that is cut off in its middle is sent whole over another connection."""

    def script(session: Session, phase: str, command: str) -> bytes | None:
        if phase != "body" or session.number > 1:
            return None
        session.socket.recv(10_000)
        return how

    wire.server.narrow()
    wire.server.script = script
    wire.send_out(letter("ann@example.com", body=LONG))
    assert (wire.states(), copies(wire)) == (["sent"], ["ann@example.com"])
    assert wire.attempts() == [1]


@pytest.mark.parametrize("how", [CLOSE, RESET], ids=["closed", "reset"])
def test_a_connection_lost_after_the_end_leaves_the_message_in_doubt(
    how: bytes, wire: Wire
) -> None:
    """It may have arrived: it is neither sent nor failed, and not tried again for now."""
    wire.server.script = Once("dot", how)
    assert wire.send(letter("ann@example.com")) == {"uncertain": 1}
    assert wire.record().reply.startswith("no reply to the ")
    assert wire.again() == {}
    assert copies(wire) == ["ann@example.com"]


@shown_by(Ability.ONE_BY_ONE)
def test_a_message_in_doubt_puts_no_other_in_doubt(wire: Wire) -> None:
    """Those before and after it are sent, each once."""
    wire.server.script = Once("dot", CLOSE, at=2)
    assert wire.send(*letters(4)) == {"sent": 3, "uncertain": 1}
    assert wire.states() == ["sent", "uncertain", "sent", "sent"]
    assert copies(wire) == [f"to{n}@example.com" for n in range(4)]


def test_a_kept_connection_that_the_server_closed_is_opened_anew(wire: Wire) -> None:
    """At once, at no cost, and with no copy."""
    assert wire.send(letter("ann@example.com")) == {"sent": 1}
    wire.server.close_sessions()
    assert wire.send(letter("bob@example.com")) == {"sent": 1}
    assert (wire.server.sessions, wire.attempts()) == (2, [1, 1])
    assert wire.reached() == ["ann@example.com", "bob@example.com"]


@shown_by(Ability.ONE_BY_ONE)
def test_a_kept_connection_that_closes_at_mail_is_opened_anew(wire: Wire) -> None:
    """The server's end of it came too late to be seen."""
    wire.server.script = Once("MAIL", CLOSE, at=3)
    assert wire.send(*letters(6)) == {"sent": 6}
    assert (wire.server.sessions, wire.attempts()) == (2, [1] * 6)
    assert copies(wire) == [f"to{n}@example.com" for n in range(6)]


def test_a_new_connection_that_is_lost_too_is_news(wire: Wire) -> None:
    """The message is not tried for a third time until it is due again."""
    assert wire.send(letter("ann@example.com")) == {"sent": 1}
    wire.server.script = lambda _, phase, __: CLOSE if phase == "connect" else None
    wire.server.close_sessions()
    wire.send(letter("bob@example.com"))
    assert wire.state("m1") == "retrying"
    assert wire.server.sessions <= 2  # with the one that was kept
    wire.server.script = lambda *_: None
    assert wire.again() == {"sent": 1}
    assert wire.reached() == ["ann@example.com", "bob@example.com"]


@shown_by(Ability.EARLY)
def test_a_refusal_in_the_middle_of_the_content_is_read(wire: Wire) -> None:
    """552 before all of it is written: failed by that, and not tried again."""

    def script(session: Session, phase: str, command: str) -> bytes | None:
        if phase != "body":
            return None
        session.socket.sendall(b"552 too large\r\n")
        while session.socket.recv(65536):  # until the client leaves
            pass
        return CLOSE

    wire.server.narrow()
    wire.server.script = script
    assert wire.send(letter("ann@example.com", body=LONG)) == {"failed": 1}
    assert (wire.record().reply, wire.attempts(), wire.accepted) == ("552 too large", [1], [])


# -- silence


class Silent:
    """Says nothing at that step of the first session, until the test is over."""

    def __init__(self, phase: str) -> None:
        self.phase, self.over = phase, threading.Event()

    def __call__(self, session: Session, phase: str, command: str) -> str | None:
        if phase == self.phase and session.number == 1:
            self.over.wait(60)
        return None


@pytest.mark.parametrize("step", BEFORE_THE_END)
def test_a_server_that_falls_silent_before_the_end_makes_no_copy(step, make_wire) -> None:
    """Beyond EMAIL_TIMEOUT the message goes over another connection, at no cost."""
    wire = make_wire(timeout=0.3)
    wire.server.script = silent = Silent(wire.kind.step(step))
    wire.send(letter("ann@example.com"))
    wire.be_patient()
    wire.send_out()
    silent.over.set()
    assert (wire.states(), copies(wire)) == (["sent"], ["ann@example.com"])
    assert wire.attempts() == [1]


@shown_by(Ability.TIMES)
def test_a_late_reply_is_never_taken_for_the_next_messages(wire, monkeypatch) -> None:
    """Without one in time the message is in doubt; the next, refused elsewhere, has failed."""
    wait_for_the_end(0.3, monkeypatch)
    (first, second) = wire.accept(*letters(2))
    silent = Silent("dot")

    def script(session: Session, phase: str, command: str) -> str | None:
        is_second = phase == "dot" and "to1@example.com" in session.mail.recipients
        return "554 refused" if is_second else silent(session, phase, command)

    wire.server.script = script
    assert wire.deliver(first) == {"uncertain": 1}
    wait_for_the_end(600, monkeypatch)
    silent.over.set()
    assert wire.deliver(second) == {"failed": 1}
    assert (wire.states(), wire.record(second).reply) == (["uncertain", "failed"], "554 refused")
    assert "timed out" in wire.record(first).reply
