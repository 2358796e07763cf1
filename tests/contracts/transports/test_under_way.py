"""What is written before the message before it is answered, and what a lost connection leaves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from tests.contracts.transports.kinds import Ability, shown_by
from tests.contracts.transports.wire import Wire, letter, letters, wait_for_the_end
from tests.line import Once
from tests.scripted import CLOSE, RESET, SILENCE, Session
from tests.support import wait_until

LONG = "A line of the letter.\n" * 30_000  # 660 kB, more than is written at once
Answer = bytes | str | None

_BASIC = ("8BITMIME", "SIZE 100000000")


def when_full(wire: Wire, kept: int, act: Callable[[], Answer], phase: str = "dot") -> list[int]:
    """Act once, with that many on record as sent and as many under way as may be.

    What it returns is the answer to the first of them.
    """
    done: list[int] = []

    def script(session: Session, now: str, command: str) -> Answer:
        if now != phase or done or len(wire.accepted) != kept:
            return None
        wait_until_full(wire, session)
        done.append(kept)
        return act()

    wire.server.script = script
    return done


def wait_until_full(wire: Wire, session: Session) -> None:
    """Wait until all replies so far are on record, and all that may be under way is here."""
    kept, count = len(wire.accepted), wire.kind.in_flight

    def is_full() -> bool:
        found = wire.journal.counts()
        return (found["sent"], found["committing"]) == (kept, count)

    wait_until(is_full, 30)
    whole = b" LAST\r\n"
    while session._received.count(whole) < count - 1 or not session._received.endswith(b"RSET\r\n"):
        session._receive()


def states_are(wire: Wire, kept: int, *then: str) -> bool:
    """Whether those after the first ``kept`` came to these states, and all others were sent."""
    states = wire.states()
    expected = ["sent"] * kept + list(then)
    return states == expected + ["sent"] * (len(states) - len(expected))


# -- what goes over the wire


@shown_by(Ability.AHEAD, Ability.ONE_BY_ONE)
def test_the_next_envelope_comes_with_a_messages_end(wire: Wire) -> None:
    """One round trip a message: when the server answers an end, the next MAIL is there already."""
    ahead: list[bool] = []

    def script(session: Session, phase: str, command: str) -> None:
        if phase == "dot":
            ahead.append(session.has_more())

    wire.server.script = script
    assert wire.send(*letters(20)) == {"sent": 20}
    assert wire.server.sessions == 1
    assert ahead == [True] * 19 + [False]


def test_bdat_is_for_several_messages_under_way(make_wire) -> None:
    """One at a time goes by DATA, whatever the server offers: fewer are in doubt when it breaks."""
    wire = make_wire(features=(*_BASIC, "PIPELINING", "CHUNKING"))
    assert wire.send(*letters(4)) == {"sent": 4}
    assert ("BDAT" in wire.server.verbs()) == (wire.kind.in_flight > 1)
    assert ("DATA" in wire.server.verbs()) == (wire.kind.in_flight == 1)


@shown_by(Ability.CHUNKS)
def test_a_message_is_one_write(wire: Wire) -> None:
    """MAIL, RCPT, BDAT and the content follow each other as they should, and nothing else does."""
    messages = letters(5, body=".A dot\n..and two\nGrüße\n")
    assert wire.send(*messages) == {"sent": 5}
    wire.close()
    wait_until(wire.server.has_been_left, 30)
    read = bytes(wire.server.bytes[1])
    for n, mail in enumerate(wire.accepted):
        assert mail.content.endswith(b"\r\n\r\n.A dot\r\n..and two\r\nGr\xc3\xbc\xc3\x9fe\r\n")
        end = f"BDAT {len(mail.content)} LAST\r\n".encode() + mail.content
        options = f"SIZE={len(mail.content)} BODY=8BITMIME"
        envelope = f"MAIL FROM:<from@example.com> {options}\r\nRCPT TO:<to{n}@example.com>\r\n"
        # The first message of a connection goes in parts.
        assert n == 0 or read.count(envelope.encode() + end + b"RSET\r\n") == 1
    assert wire.server.verbs().count("DATA") == 0
    assert wire.server.verbs()[-1] == "QUIT"


@shown_by(Ability.CHUNKS)
def test_the_first_part_of_a_connection_holds_no_line(wire: Wire) -> None:
    """A server that offers BDAT and doesn't know it can't take the content for commands."""
    assert wire.send(*letters(2)) == {"sent": 2}
    sizes = [c.split(" ") for _, c in wire.server.commands if c.startswith("BDAT")]
    assert [size[2:] for size in sizes] == [[], [], ["LAST"], ["LAST"]]
    assert b"\n" not in wire.accepted[0].content[: int(sizes[0][1])]
    assert sum(int(size[1]) for size in sizes[:3]) == len(wire.accepted[0].content)


@pytest.mark.parametrize("end", ["\n", ""])
def test_a_long_content_arrives_as_it_is(end: str, wire: Wire) -> None:
    """Among short ones, whatever it ends with."""
    first, long, last = letters(3)
    long.body = LONG + "." + end
    assert wire.send(first, long, last) == {"sent": 3}
    assert wire.reached() == [f"to{n}@example.com" for n in range(3)]
    content = wire.accepted[1].content
    assert content.partition(b"\r\n\r\n")[2] == (LONG + ".\n").replace("\n", "\r\n").encode()


@shown_by(Ability.CHUNKS)
def test_as_many_messages_are_under_way_as_may_be(wire: Wire) -> None:
    """When the first waits for its reply the others are there, across claims of eight."""
    seen = when_full(wire, 15, lambda: None)
    assert wire.send(*letters(40)) == {"sent": 40}
    assert seen == [15]
    assert wire.reached() == [f"to{n}@example.com" for n in range(40)]
    assert wire.server.sessions == 1


@shown_by(Ability.AHEAD)
def test_the_journal_is_asked_no_more_than_once_for_each_message(wire: Wire) -> None:
    """A result and the next commit are one call, and with several under way several of each are."""
    client = wire.journal._client

    def calls() -> int:
        return client.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"]

    ids = wire.accept(*letters(80))
    before = calls()
    assert wire.deliver(*ids) == {"sent": 80}
    # The claims of eight, the last result, and the leases that are prolonged by the clock.
    assert calls() - before <= (80 if wire.kind.in_flight < 10 else 48) + 10 + 5


@shown_by(Ability.CHUNKS)
def test_a_message_that_lost_a_worker_goes_alone(wire: Wire) -> None:
    """Nothing else is under way while it is: whatever it does to a worker, it does to no other."""
    counts: dict[str, int] = {}

    def script(session: Session, phase: str, command: str) -> None:
        if phase == "dot":
            counts[session.mail.recipients[0]] = wire.journal.counts()["committing"]

    wire.server.script = script
    ids = wire.accept(*letters(30))
    wire.journal._client.hset("mailqueue:{q}:message:m17", "lost", 1)
    assert wire.deliver(*ids) == {"sent": 30}
    assert counts["to17@example.com"] == 1
    assert max(counts.values()) >= wire.kind.in_flight - 1
    assert sorted(wire.reached()) == sorted(f"to{n}@example.com" for n in range(30))


# -- a server that doesn't keep its word


@shown_by(Ability.CHUNKS)
@pytest.mark.parametrize("reply", ["500 what", "502 no", "503 no", CLOSE, b"garbage\r\n"], ids=str)
def test_a_server_that_offers_bdat_and_refuses_it_gets_data(reply: bytes | str, make_wire) -> None:
    """Nobody is charged, and from then on it isn't tried again, over other connections neither."""
    wire = make_wire(max_messages=4)
    wire.server.script = lambda _, phase, __: reply if phase == "BDAT" else None
    wire.send_out(*letters(12))
    assert (set(wire.states()), set(wire.attempts())) == ({"sent"}, {1})
    assert sorted(Counter(wire.reached()).values()) == [1] * 12
    assert (wire.server.verbs().count("BDAT"), wire.server.verbs().count("DATA")) == (1, 12)


@shown_by(Ability.CHUNKS)
def test_a_server_that_refuses_bdat_later_gets_data_too(wire: Wire) -> None:
    """No message fails, and none that it answered for is sent again."""
    wire.server.script = Once("dot", "503 bad sequence", at=3)
    wire.send_out(*letters(12))
    assert set(wire.states()) <= {"sent", "uncertain"}
    assert set(wire.attempts()) == {1}
    assert wire.states().count("uncertain") < wire.kind.in_flight
    assert max(Counter(wire.reached()).values()) == 1
    assert wire.server.verbs().count("DATA") >= 1


# -- connections that are lost


@shown_by(Ability.CHUNKS)
@pytest.mark.parametrize("reply", [CLOSE, RESET, b"garbage\r\n", b"354 what\r\n"], ids=str)
def test_what_is_under_way_when_the_connection_is_lost_is_in_doubt(reply, wire: Wire) -> None:
    """All of it is uncertain, nothing failed or is sent again, and the others are sent."""
    when_full(wire, 5, lambda: reply)
    wire.send_out(*letters(30))
    assert states_are(wire, 5, *["uncertain"] * wire.kind.in_flight)
    assert wire.record("m6").reply.startswith("no reply to the last chunk: ")
    assert set(Counter(wire.reached()).values()) == {1}
    assert set(wire.attempts()) == {1}


@shown_by(Ability.CHUNKS)
@pytest.mark.parametrize("kept", [0, 5])
@pytest.mark.parametrize("phase", ["MAIL", "RCPT", "dot"])
def test_a_421_gives_its_message_back_and_leaves_those_behind_it_in_doubt(
    phase: str, kept: int, wire: Wire
) -> None:
    """Its message goes over another connection, at no cost."""
    if kept == 0 and phase != "dot":
        kept = 5  # the first message goes by itself until its end
    when_full(wire, kept, lambda: "421 4.3.2 going down", phase)
    seen = wire.server.script

    def script(session: Session, now: str, command: str) -> Answer:
        answer = seen(session, now, command)
        is_over = session.number == 1 and session in over
        if isinstance(answer, str):
            over.append(session)
        return CLOSE if is_over else answer

    over: list[Session] = []
    wire.server.script = script
    wire.send_out(*letters(30))
    assert states_are(wire, kept, "sent", *["uncertain"] * (wire.kind.in_flight - 1))
    assert set(Counter(wire.reached()).values()) == {1}
    assert set(wire.attempts()) == {1}


@shown_by(Ability.CHUNKS)
def test_a_reply_that_comes_too_late_leaves_all_under_way_in_doubt(wire: Wire, monkeypatch) -> None:
    """Each has its time from when it was written, and a late reply is taken for no other one's."""
    wait_for_the_end(2, monkeypatch)

    def fall_silent() -> Answer:
        wait_for_the_end(600, monkeypatch)  # for whatever is written from now on
        return SILENCE

    when_full(wire, 5, fall_silent)
    wire.send_out(*letters(20))
    assert states_are(wire, 5, *["uncertain"] * wire.kind.in_flight)
    assert set(Counter(wire.reached()).values()) == {1}


@shown_by(Ability.CHUNKS)
def test_each_of_several_under_way_gets_what_its_replies_said(wire: Wire) -> None:
    """In the middle of others: 250, 450, 550, and 452 for more than fit into one transaction."""
    answers = {"b@example.com": ["450 busy"], "c@example.com": ["550 no such user"]}

    def script(session: Session, phase: str, command: str) -> Answer:
        address = command.partition("<")[2].partition(">")[0]
        if phase == "RCPT" and len(session.mail.recipients) == 20:
            return "452 4.5.3 too many recipients"
        return answers[address].pop(0) if phase == "RCPT" and answers.get(address) else None

    wire.server.script = script
    messages = letters(6)
    messages[2] = letter(*(f"{c}@example.com" for c in "abc"))
    messages[4] = letter(*(f"many{n}@example.com" for n in range(50)))
    wire.send_out(*messages)
    assert wire.states() == ["sent", "sent", "partial", "sent", "sent", "sent"]
    kept = ("sent", "250 2.0.0 kept")
    refused = ("failed", "550 no such user")
    assert list(wire.results("m2").values()).count(kept) == 2
    assert wire.results("m2")["c@example.com"] == refused
    parts = [m.recipients for m in wire.accepted if m.recipients[0].startswith("many")]
    assert [len(part) for part in parts] == [20, 20, 10]
    assert sorted(address for part in parts for address in part) == sorted(messages[4].to)
