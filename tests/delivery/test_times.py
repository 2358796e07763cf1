"""When a message is due again, and how long a mailer and a connection rest, by the clock."""

from __future__ import annotations

import pytest

from tests.contracts.transports.wire import Wire, letter, letters
from tests.line import Once
from tests.scripted import CLOSE, Session


def test_a_message_waits_as_its_schedule_says(wire: Wire) -> None:
    """It isn't tried a second before its time; after the last time it has failed."""
    wire.delays = (60.0, 300.0)
    wire.server.script = lambda _, phase, __: "451 later" if phase == "dot" else None
    assert wire.send(letter()) == {"retrying": 1}
    assert wire.again(after=59) == {}
    assert wire.again(after=1) == {"retrying": 1}
    assert wire.again(after=299) == {}
    assert wire.again(after=1) == {"failed": 1}
    assert wire.attempts() == [3]


def test_a_message_in_doubt_waits_for_its_hour(wire: Wire) -> None:
    """Then it is sent again, with the same bytes."""
    wire.server.script = Once("dot", CLOSE)
    assert wire.send(letter()) == {"uncertain": 1}
    assert wire.again(after=3599) == {}
    assert wire.again(after=1) == {"sent": 1}
    first, second = wire.accepted
    assert first.content == second.content


@pytest.mark.parametrize(("reply", "longest"), [("421 4.3.2 down", 1.1), ("530 5.7.0 log in", 66)])
def test_a_mailer_in_trouble_rests_longer_each_time(reply: str, longest: float, wire: Wire) -> None:
    """A second at first, a minute where only a person can mend it; nothing is said meanwhile."""
    wire.server.script = lambda _, phase, __: reply if phase == "MAIL" else None
    wire.send(*letters(3))
    first = wire.connection.pause
    assert longest * 0.8 < first <= longest
    wire.again(after=first / 2)
    assert wire.server.sessions == 1
    wire.again(after=first)
    assert wire.server.sessions == 2
    assert wire.connection.pause > first * 1.5
    assert wire.attempts() == [0, 0, 0]


def test_a_success_ends_the_trouble(wire: Wire) -> None:
    """The next trouble rests as short as the first."""
    wire.server.script = Once("MAIL", "421 4.3.2 down")
    wire.send(*letters(2))
    first = wire.connection.pause
    assert wire.again() == {"sent": 2}
    wire.close()
    wire.server.script = Once("MAIL", "421 4.3.2 down")
    wire.send(letter())
    assert wire.connection.pause == pytest.approx(first, rel=0.25)


def test_a_worker_that_finds_a_pause_claims_nothing(wire: Wire) -> None:
    """The messages stay queued, for whoever may send them."""
    wire.server.script = lambda _, phase, __: "421 4.3.2 down" if phase == "connect" else None
    wire.send(letter("ann@example.com"))
    assert wire.send(letter("bob@example.com")) == {}
    assert wire.state("m1") == "queued"
    assert wire.server.sessions == 1


def test_a_connection_is_kept_for_the_next_task(wire: Wire) -> None:
    """One EHLO for all, however many tasks come."""
    for number in range(5):
        assert wire.send(letter(f"to{number}@example.com")) == {"sent": 1}
    assert wire.server.verbs().count("EHLO") == 1
    assert wire.reached() == [f"to{n}@example.com" for n in range(5)]


def test_a_batch_settles_each_message_by_itself(wire: Wire) -> None:
    """Sent, put off, refused and unreadable ones in one task: each has its own state."""
    replies = {"to1@example.com": "451 later", "to2@example.com": "554 never"}

    def script(session: Session, phase: str, command: str) -> str | None:
        return replies.get(session.mail.recipients[0]) if phase == "dot" else None

    wire.server.script = script
    ids = wire.accept(*letters(4))
    wire.accept_payload("m4", "{")
    assert wire.deliver(*ids, "m4") == {"sent": 2, "retrying": 1, "failed": 2}
    assert wire.states() == ["sent", "retrying", "failed", "sent", "failed"]
    assert wire.journal.counts()["sending"] == 0
    assert wire.server.sessions == 1


def test_a_lease_that_ended_before_the_claim_is_used_stops_the_message(wire: Wire) -> None:
    """Another worker has it by then, and this one never sends its end."""

    def script(session: Session, phase: str, command: str) -> None:
        if phase == "RCPT" and wire.state() == "sending":
            wire.clock.advance(31)
            assert [due.id for due in wire.journal.release()] == ["m0"]
            assert wire.journal.claim([("m0", "")])[0]

    wire.server.script = script
    assert wire.send(letter()) == {"stale": 1}
    assert (wire.state(), wire.accepted, wire.ends()) == ("sending", [], 0)
