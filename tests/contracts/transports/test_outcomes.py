"""What a server answers to a message, and what that comes to for each of its recipients."""

from __future__ import annotations

import pytest

from tests.contracts.transports.kinds import Ability, shown_by
from tests.contracts.transports.wire import Wire, letter
from tests.line import Once
from tests.scripted import CLOSE, ScriptedServer, Session

ANN, BOB, CY = "ann@example.com", "bob@example.com", "cy@example.com"
STEPS = ["MAIL", "RCPT", "content", "end"]


def answers(server: ScriptedServer, **replies: list[str]) -> None:
    """Have RCPT answered by the recipient's local part: each reply once, then as usual."""

    def script(session: Session, phase: str, command: str) -> str | None:
        left = replies.get(command.partition("<")[2].partition("@")[0])
        return left.pop(0) if phase == "RCPT" and left else None

    server.script = script


def takes_at_most(server: ScriptedServer, count: int, reply: str) -> None:
    """Have the server take no more recipients than that in one transaction."""

    def script(session: Session, phase: str, command: str) -> str | None:
        is_full = phase == "RCPT" and len(session.mail.recipients) == count
        return reply if is_full else None

    server.script = script


# -- the message


def test_a_message_that_the_server_takes_is_sent(wire: Wire) -> None:
    """It is there once, from its sender and for all of its recipients; the record has the reply."""
    assert wire.send(letter(ANN, BOB)) == {"sent": 1}
    (mail,) = wire.accepted
    assert (mail.sender, mail.recipients) == ("from@example.com", [ANN, BOB])
    reply = "250 2.0.0 kept"
    assert wire.results() == {ANN: ("sent", reply), BOB: ("sent", reply)}
    assert (wire.record().reply, wire.attempts()) == (reply, [1])


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    ("reply", "state"), [("451 4.3.0 later", "retrying"), ("554 no", "failed")]
)
def test_a_refusal_decides_about_the_message(step: str, reply: str, state: str, wire: Wire) -> None:
    """4yz at any step puts it off, and the next attempt sends it; 5yz fails it for good.

    A connection's first BDAT that is refused may be BDAT's fault, so DATA is tried as well.
    """
    refusing = [Once(wire.kind.step(step), reply)]
    if step == "content" and wire.kind.can(Ability.CHUNKS):
        refusing.append(Once("DATA", reply))
    wire.server.script = lambda *said: next(filter(None, [o(*said) for o in refusing]), None)
    assert wire.send(letter(ANN)) == {state: 1}
    assert (wire.record().reply, wire.accepted) == (reply, [])
    assert wire.again() == ({"sent": 1} if state == "retrying" else {})
    assert wire.attempts() == [2 if state == "retrying" else 1]
    assert wire.reached() == ([ANN] if state == "retrying" else [])


def test_a_reply_of_several_lines_is_one_reply(wire: Wire) -> None:
    """Its lines stand on record as one."""
    wire.server.script = Once("dot", b"554-5.7.1 not\r\n554-5.7.1 this\r\n554 5.7.1 one\r\n")
    assert wire.send(letter(ANN)) == {"failed": 1}
    assert wire.record().reply == "554 5.7.1 not 5.7.1 this 5.7.1 one"


def test_a_reply_with_anything_in_it_is_one_printable_line(wire: Wire) -> None:
    """Bytes that are no text, and what a terminal would obey, do no harm on record."""
    wire.server.script = Once("dot", b"554 \xff\x1b[2J no\r\n")
    assert wire.send(letter(ANN)) == {"failed": 1}
    assert wire.record().reply.isprintable()
    assert wire.record().reply.endswith("no")


# -- its recipients


@pytest.mark.parametrize("reply", ["250 ok", "251 will forward"])
def test_a_recipient_that_is_accepted_is_served(reply: str, wire: Wire) -> None:
    """251, which forwards, accepts a recipient as 250 does."""
    answers(wire.server, ann=[reply])
    assert wire.send(letter(ANN)) == {"sent": 1}
    assert wire.reached() == [ANN]


def test_a_recipient_of_whom_the_server_is_not_sure_is_served(wire: Wire) -> None:
    """252, "can't verify, but will try", accepts too."""
    answers(wire.server, ann=["252 can't say"])
    assert wire.send(letter(ANN)) == {"sent": 1}
    assert wire.reached() == [ANN]


def test_each_recipient_gets_what_its_own_reply_said(wire: Wire) -> None:
    """250, 450, 550: served once, tried again alone, failed for good."""
    answers(wire.server, bob=["450 busy"], cy=["550 no such user"])
    assert wire.send(letter(ANN, BOB, CY)) == {"retrying": 1}
    kept = ("sent", "250 2.0.0 kept")
    assert wire.results() == {ANN: kept, CY: ("failed", "550 no such user")}
    assert wire.again() == {"partial": 1}
    assert [mail.recipients for mail in wire.accepted] == [[ANN], [BOB]]
    assert wire.results() == {ANN: kept, BOB: kept, CY: ("failed", "550 no such user")}
    assert wire.again() == {}


def test_who_was_refused_for_good_is_not_asked_for_again(wire: Wire) -> None:
    """Where nobody was accepted: the next attempt is for those who were refused for now."""
    answers(wire.server, ann=["550 no such user"], bob=["450 busy"])
    assert wire.send(letter(ANN, BOB)) == {"retrying": 1}
    assert wire.results() == {ANN: ("failed", "550 no such user")}
    assert wire.again() == {"partial": 1}
    assert [mail.recipients for mail in wire.accepted] == [[BOB]]
    said = [c for _, c in wire.server.commands if c.upper().startswith("RCPT")]
    assert [ANN in command for command in said] == [True, False, False]


def test_nobody_gets_a_message_that_each_recipient_refused(wire: Wire) -> None:
    """Whatever was written of its content is for nobody, and the next message is sent."""
    answers(wire.server, to1=["550 no such user"])
    sent = wire.send(*(letter(f"to{n}@example.com") for n in range(3)))
    assert sent == {"sent": 2, "failed": 1}
    assert wire.results("m1") == {"to1@example.com": ("failed", "550 no such user")}
    assert wire.reached() == ["to0@example.com", "to2@example.com"]


@shown_by(Ability.AHEAD)
@pytest.mark.parametrize("answer", ["354 go ahead", "554 no valid recipients"])
def test_a_server_may_ask_for_a_content_that_nobody_gets(answer: str, wire: Wire) -> None:
    """Asked for it along with the recipients, it may say 354 (RFC 2920): it gets none."""

    def script(session: Session, phase: str, command: str) -> str | None:
        if phase == "RCPT" and "to1@" in command:
            return "550 no such user"
        return answer if phase == "DATA" and not session.mail.recipients else None

    wire.server.script = script
    sent = wire.send(*(letter(f"to{n}@example.com") for n in range(3)))
    assert sent == {"sent": 2, "failed": 1}
    assert wire.record("m1").reply == "550 no such user"
    assert wire.reached() == ["to0@example.com", "to2@example.com"]


@pytest.mark.parametrize("reply", ["452 4.5.3 too many", "552 5.5.3 too many"])
def test_too_many_recipients_go_in_several_transactions(reply: str, wire: Wire) -> None:
    """452, or 552 of an older server, after some were accepted: the others at once, at no cost."""
    takes_at_most(wire.server, 100, reply)
    addresses = [f"to{n}@example.com" for n in range(250)]
    assert wire.send(letter(*addresses)) == {"queued": 2, "sent": 1}
    assert [len(mail.recipients) for mail in wire.accepted] == [100, 100, 50]
    assert sorted(wire.reached()) == sorted(addresses)
    assert [line.state for line in wire.record().history] == ["queued", "queued", "sent"]


@pytest.mark.parametrize(
    ("reply", "state"), [("452 4.3.1 no room", "retrying"), ("552 5.2.2 mailbox full", "failed")]
)
def test_a_sole_recipient_is_not_too_many(reply: str, state: str, wire: Wire) -> None:
    """Its 452 puts it off, its 552 refuses it for good: there is nobody else to be too many."""
    answers(wire.server, ann=[reply])
    assert wire.send(letter(ANN)) == {state: 1}
    assert wire.record().reply == reply
    assert wire.server.verbs().count("MAIL") == 1


def test_at_the_schedules_end_who_was_put_off_has_failed(wire: Wire) -> None:
    """With no attempt left, 4yz fails a recipient as 5yz does."""
    wire.delays = ()
    answers(wire.server, ann=["450 busy"])
    assert wire.send(letter(ANN)) == {"failed": 1}
    assert wire.results() == {ANN: ("failed", "450 busy")}


@shown_by(Ability.SPELLINGS)
def test_a_mailbox_that_is_spelled_twice_has_one_copy_and_two_results(wire: Wire) -> None:
    """Each spelling has the result of the one RCPT."""
    assert wire.send(letter("Ann <ann@example.com>", ANN)) == {"sent": 1}
    assert set(wire.results()) == {"Ann <ann@example.com>", ANN}
    assert wire.server.verbs().count("RCPT") == 1


def test_a_message_for_all_is_never_on_record_for_less(wire: Wire) -> None:
    """A connection that closes after some RCPTs serves nobody, and the next one serves all."""
    wire.server.script = Once("RCPT", CLOSE, at=2)
    wire.send_out(letter(ANN, BOB, CY))
    assert [mail.recipients for mail in wire.accepted] == [[ANN, BOB, CY]]
    assert {state for state, _ in wire.results().values()} == {"sent"}
