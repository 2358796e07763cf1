"""What a server says of our settings fails no message, and costs none an attempt."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.contracts.transports.kinds import Ability, Kind, shown_by
from tests.contracts.transports.wire import Wire, letter, letters
from tests.scripted import RESET, Script, Session

NAME = "504 5.5.2 <worker>: Helo command rejected: need fully-qualified hostname"
CLEAR = "451 5.7.3 STARTTLS is required to send mail"
RELAY = "554 5.7.1 Relay access denied"
ALARM = 30  # seconds: only after our own mistake is a mailer left alone for longer


def refusing(reply: str, *phases: str) -> Script:
    return lambda _, phase, __: reply if phase in phases else None


def refused_to(recipients: set[str], reply: str = RELAY) -> Script:
    """Refuse those recipients, whoever else is served."""

    def script(session: Session, phase: str, command: str) -> str | None:
        said = command.partition("<")[2].partition(">")[0]
        return reply if phase == "RCPT" and said in recipients else None

    return script


@pytest.mark.parametrize("reply", [NAME, CLEAR, "550 Access denied - Invalid HELO name"])
@pytest.mark.parametrize("step", ["MAIL", "RCPT"])
def test_what_is_surely_our_mistake_raises_the_alarm_at_once(
    step: str, reply: str, wire: Wire
) -> None:
    """Whatever step it is said at: nobody is charged, and when it is mended all are sent."""
    wire.server.script = refusing(reply, step)
    wire.send(*letters(3))
    assert wire.connection.pause > ALARM
    assert (wire.attempts(), wire.accepted) == ([0, 0, 0], [])
    assert wire.record().reply.startswith(f"{reply} (set ")
    wire.server.script = lambda *_: None
    wire.send_out()
    assert (wire.states(), wire.attempts()) == (["sent"] * 3, [1] * 3)


def test_a_name_that_is_refused_at_data_raises_the_alarm(wire: Wire) -> None:
    """That late, too, it is no message's fault."""
    wire.server.script = refusing(NAME, "DATA", "BDAT")
    wire.send(letter())
    assert wire.connection.pause > ALARM
    assert (wire.states(), wire.attempts()) == (["retrying"], [0])


@pytest.mark.parametrize("reply", ["504 5.5.2 need a name", "501 5.5.4 Invalid domain name"])
def test_a_name_that_is_refused_at_ehlo_raises_the_alarm(reply: str, wire: Wire) -> None:
    """The code is enough there, since it is said of nothing else."""
    wire.server.script = refusing(reply, "EHLO", "HELO")
    wire.send(*letters(2))
    assert wire.connection.pause > ALARM
    assert set(wire.attempts()) == {0}
    assert "EHLO_NAME" in wire.record().reply


def test_one_recipient_that_is_not_relayed_to_keeps_nobody_waiting(wire: Wire) -> None:
    """The others are sent, and then it has failed, by what was said of it."""
    wire.server.script = refused_to({"to0@example.com"})
    wire.send(*letters(5))
    assert not wire.connection.pause
    assert wire.states()[1:] == ["sent"] * 4
    wire.send_out()
    assert wire.states()[0] == "failed"
    assert wire.results() == {"to0@example.com": ("failed", RELAY)}
    assert wire.attempts() == [1] * 5


def test_once_somebody_was_accepted_a_refusal_is_the_recipients_own(wire: Wire) -> None:
    """At once, for good, and as many as there are."""
    assert wire.send(letter("ann@example.com")) == {"sent": 1}
    wire.server.script = refusing(RELAY, "RCPT")
    assert wire.send(*letters(6)) == {"failed": 6}
    assert not wire.connection.pause
    assert wire.attempts() == [1] * 7


@pytest.mark.parametrize("step", ["MAIL", "RCPT"])
@pytest.mark.parametrize("reply", [RELAY, "454 4.7.1 <ann@example.com>: Relay access denied"])
def test_a_server_that_relays_for_nobody_fails_nobody(step: str, reply: str, wire: Wire) -> None:
    """The third message that is refused so raises the alarm; all wait, and are sent when mended."""
    wire.server.script = refusing(reply, step)
    wire.send(*letters(12))
    assert wire.connection.pause > ALARM
    assert set(wire.states()) <= {"retrying", "queued"}
    assert wire.attempts() == [0] * 12
    assert sum("see whether" in record.reply for record in wire.records()) >= 1
    wire.again()  # one is tried again, and the alarm stays
    assert wire.connection.pause > ALARM
    assert wire.attempts() == [0] * 12
    wire.server.script = lambda *_: None
    wire.send_out()
    assert (wire.states(), wire.attempts()) == (["sent"] * 12, [1] * 12)
    assert sorted(wire.reached()) == sorted(f"to{n}@example.com" for n in range(12))


def test_three_recipients_of_one_message_are_no_alarm(wire: Wire) -> None:
    """One message may have a list of them, whom the server doesn't relay to."""
    wire.server.script = refusing(RELAY, "RCPT")
    wire.send(letter("ann@example.com", "bob@example.com", "cy@example.com"))
    assert not wire.connection.pause
    assert (wire.states(), wire.attempts()) == (["retrying"], [0])


def test_a_message_by_itself_gets_its_verdict_within_the_hour(wire: Wire) -> None:
    """Nothing more is known by then, and it is the recipient's."""
    wire.server.script = refusing(RELAY, "RCPT")
    wire.send(letter("ann@example.com"))
    tries = 1
    while wire.states() == ["retrying"]:
        wire.again()
        tries += 1
    assert (wire.states(), wire.attempts(), tries) == (["failed"], [1], 7)  # one in ten minutes
    assert wire.results() == {"ann@example.com": ("failed", RELAY)}


def test_a_refusal_beside_an_accepted_recipient_is_that_recipients(wire: Wire) -> None:
    """The server relays, and so it is no mistake of ours."""
    wire.server.script = refused_to({"bob@example.com"})
    assert wire.send(letter("ann@example.com", "bob@example.com")) == {"partial": 1}


def test_other_recipients_behind_an_alarm_get_their_turn(make_wire: Callable[..., Wire]) -> None:
    """Three that the server doesn't relay to stand in nobody's way for long."""
    wire = make_wire()
    wire.server.script = refused_to({f"to{n}@example.com" for n in range(3)})
    wire.send(*letters(6))
    wire.send_out()
    assert wire.states() == ["failed"] * 3 + ["sent"] * 3
    assert wire.attempts() == [1] * 6


# -- BDAT


@shown_by(Ability.CHUNKS)
@pytest.mark.parametrize(
    "how", [b"<close>", b"<reset>", "502 no", "550 no", "554 5.5.1 no", "451 no", "421 no", b""]
)
def test_a_server_that_can_not_do_what_it_offers_is_asked_once(
    how: bytes | str, kind: Kind, make_wire: Callable[..., Wire]
) -> None:
    """Whether it, or a proxy before it, refuses BDAT, hangs up or hangs: DATA, for an hour."""
    wire = make_wire(timeout=0.3 if how == b"" else None)
    wire.server.script = refusing(how, "BDAT")  # type: ignore[arg-type]
    wire.send_out(letter("ann@example.com"))
    wire.connection.close()
    wire.send_out(letter("bob@example.com"))
    assert (wire.states(), wire.attempts()) == (["sent"] * 2, [1] * 2)
    assert wire.server.verbs().count("BDAT") == 1
    wire.connection.close()
    wire.clock.advance(3600)
    wire.send_out(letter("cy@example.com"))
    assert wire.server.verbs().count("BDAT") == 2


@shown_by(Ability.CHUNKS)
def test_a_proxy_that_drops_all_at_bdat_is_known_by_it(wire: Wire) -> None:
    """The replies before it aren't lost along with it: they have come before BDAT is written."""

    def script(session: Session, phase: str, command: str) -> bytes | None:
        drops = phase == "BDAT" or (phase in {"MAIL", "RCPT"} and b"BDAT" in session.peek())
        return RESET if drops else None

    wire.server.script = script
    wire.send_out(*letters(3))
    assert (wire.states(), wire.attempts()) == (["sent"] * 3, [1] * 3)
    assert wire.server.sessions == 2


@shown_by(Ability.CHUNKS)
def test_without_chunking_a_server_is_never_asked(make_wire: Callable[..., Wire]) -> None:
    """CHUNKING = False is for those that are known to have it in vain."""
    wire = make_wire()
    with_it = {"IN_FLIGHT": 10, "CHUNKING": False}
    wire = make_wire(settings={"MAILQUEUE": with_it})
    assert wire.send(*letters(3)) == {"sent": 3}
    assert "BDAT" not in wire.server.verbs()
