"""When the journal is asked before a message's end is sent, and when it has the results."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from mailqueue.errors import JournalUnavailable
from mailqueue.queue.journal import Journal
from mailqueue.store.client import connect
from tests.contracts.transports.kinds import Ability, shown_by
from tests.contracts.transports.wire import Wire, letter, letters
from tests.line import Once
from tests.proxy import Proxy
from tests.scripted import CLOSE, Session
from tests.support import wait_until

COMMIT = b"\r\nadvance\r\n"  # the operation, as one argument of a call of the script
LONG = "A line of the letter.\n" * 30_000  # 660 kB, more than is written at once


def addressed(session: Session, number: int) -> bool:
    """Whether that message is the one that the server is reading."""
    return session.mail.recipients == [f"to{number}@example.com"]


# -- commits


def test_a_message_is_committed_when_its_end_arrives(wire: Wire) -> None:
    """Whoever looks then finds it so, and no more of them than may be under way."""
    own: list[str] = []
    at_once: list[int] = []

    def script(session: Session, phase: str, command: str) -> None:
        if phase == "dot":
            own.append(wire.state(f"m{len(own)}"))
            at_once.append(wire.journal.counts()["committing"])

    wire.server.script = script
    assert wire.send(*letters(12)) == {"sent": 12}
    assert own == ["committing"] * 12
    assert 1 <= min(at_once) <= max(at_once) <= wire.kind.in_flight


@shown_by(Ability.ONE_BY_ONE)
def test_a_result_is_on_record_before_the_next_end(wire: Wire) -> None:
    """There is never a second message between its end and its recorded reply."""
    seen: list[tuple[int, int]] = []

    def script(session: Session, phase: str, command: str) -> None:
        if phase == "dot":
            found = Counter(wire.states())
            seen.append((found["committing"], found["sent"]))

    wire.server.script = script
    assert wire.send(*letters(12)) == {"sent": 12}
    assert seen == [(1, n) for n in range(12)]


@shown_by(Ability.AT_THE_END)
def test_a_long_content_is_committed_before_its_last_bytes(wire: Wire) -> None:
    """While the rest of it is on its way, it can still be stopped."""
    seen: list[str] = []

    def script(session: Session, phase: str, command: str) -> None:
        if phase in {"body", "dot"}:
            seen.append(wire.state())

    wire.server.narrow()
    wire.server.script = script
    assert wire.send(letter(body=LONG)) == {"sent": 1}
    assert seen[0] == "sending"
    assert seen[-1] == "committing"


def test_no_end_goes_out_before_the_journals_answer(make_wire, redis_url) -> None:
    """The journal has allowed it, and nobody learns that: the connection ends before the end."""
    with Proxy(int(urlsplit(redis_url).port or 0)) as proxy, ThreadPoolExecutor() as threads:
        wire = make_wire(journal_url=f"redis://127.0.0.1:{proxy.port}/0")
        own = Journal(connect(redis_url, 30.0), "q")
        ids = wire.accept(*letters(2))
        proxy.hold_replies(to=COMMIT)
        delivery = threads.submit(wire.deliver, *ids)
        wait_until(lambda: own.counts()["committing"] or delivery.done(), 30)
        assert not delivery.done(), delivery.result()
        proxy.__exit__()
        with pytest.raises(JournalUnavailable):
            delivery.result(60)
        wire.close()
        wait_until(wire.server.has_been_left, 30)
        assert (wire.ends(), wire.accepted) == (0, [])


# -- claims


def test_a_message_that_another_worker_took_over_is_not_ended(wire: Wire) -> None:
    """Its lease ended before its commit: the server keeps nothing of it, the next one is sent."""
    taken = []

    def script(session: Session, phase: str, command: str) -> None:
        if phase == wire.kind.last_moment and not taken:
            taken.append(wire.take_over("m0"))

    wire.server.script = script
    assert wire.send(*letters(2)) == {"stale": 1, "sent": 1}
    assert wire.states() == ["sending", "sent"]
    assert wire.reached() == ["to1@example.com"]
    assert wire.ends() == 1
    assert wire.journal.commit(taken[0])  # the other one's claim holds


def test_among_others_it_stops_none_of_them(wire: Wire) -> None:
    """It was claimed with those before it, and taken over before the first of them ended."""
    taken = []

    def script(session: Session, phase: str, command: str) -> None:
        if phase == wire.kind.last_moment and not taken:
            taken.append(wire.take_over("m5"))

    wire.server.script = script
    assert wire.send(*letters(8)) == {"stale": 1, "sent": 7}
    others = [f"to{n}@example.com" for n in range(8) if n != 5]
    assert sorted(wire.reached()) == others
    wire.settle(taken[0], "nobody@example.com")
    assert wire.again() == {"sent": 1}
    assert wire.reached()[7:] == ["to5@example.com"]


def test_a_message_that_comes_back_goes_to_those_who_are_still_to_get_it(wire: Wire) -> None:
    """Whatever was made ready of it was for all, and another worker has served one of them."""
    taken = []

    def script(session: Session, phase: str, command: str) -> None:
        if phase == wire.kind.last_moment and not taken:
            taken.append(wire.take_over("m1"))

    wire.server.script = script
    assert wire.send(letter(), letter("first@example.com", "late@example.com")) == {
        "sent": 1,
        "stale": 1,
    }
    wire.settle(taken[0], "first@example.com")
    assert wire.again() == {"sent": 1}
    assert wire.reached() == ["to0@example.com", "late@example.com"]
    assert {state for state, _ in wire.results("m1").values()} == {"sent"}


def test_what_is_sent_already_or_unknown_is_passed_over(wire: Wire) -> None:
    """However often a task names it."""
    assert wire.send(letter()) == {"sent": 1}
    assert wire.deliver("m0", "m0", "unknown") == {}
    assert wire.reached() == ["to0@example.com"]


# -- results


@shown_by(Ability.AHEAD)
def test_a_result_is_on_record_while_the_next_reply_is_awaited(wire: Wire) -> None:
    """A server that dawdles with the next message doesn't keep the last result from the journal."""
    then: list[str] = []

    def script(session: Session, phase: str, command: str) -> None:
        is_next = phase == "RCPT" and "to1@" in command
        if is_next and not then:
            wait_until(lambda: wire.state("m0") == "sent", 30)
            then.append(wire.state("m0"))

    wire.server.script = script
    assert wire.send(*letters(2)) == {"sent": 2}
    assert then == ["sent"]


def test_a_result_is_on_record_before_a_long_content(wire: Wire) -> None:
    """A content that may take minutes keeps no reply before it from the journal."""
    then: list[str] = []

    def script(session: Session, phase: str, command: str) -> None:
        if phase == "body" and addressed(session, 1):
            wait_until(lambda: wire.state("m0") == "sent", 30)
            then.append(wire.state("m0"))

    wire.server.narrow()
    wire.server.script = script
    short, long = letters(2)
    long.body = LONG
    assert wire.send(short, long) == {"sent": 2}
    assert set(then) == {"sent"}


# -- several messages


@pytest.mark.parametrize("bad", ["{", '{"v": 99}', '{"v": 1, "id": "bad", "kind": "unknown"}'])
def test_a_message_that_can_not_be_rebuilt_fails_alone(bad: str, wire: Wire) -> None:
    """Those before and after it are sent over the same connection, and its bytes are kept."""
    first, last = wire.accept(letter("ann@example.com"))[0], "m2"
    wire.accept_payload("bad", bad)
    wire.journal.accept([wire.entry(last, letter("bob@example.com"))])
    assert wire.deliver(first, "bad", last) == {"sent": 2, "failed": 1}
    assert wire.state("bad") == "failed"
    assert wire.journal.payload("bad") == bad
    assert wire.reached() == ["ann@example.com", "bob@example.com"]
    assert wire.server.sessions == 1


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "content", "end"])
def test_a_message_that_is_refused_among_others_fails_alone(step: str, wire: Wire) -> None:
    """Whatever was begun of those behind it, each is sent once and none is charged for it."""
    step = "end" if step == "content" and wire.kind.can(Ability.CHUNKS) else step
    wire.server.script = Once(wire.kind.step(step), "554 never", at=4)
    messages = letters(12)
    assert wire.send(*messages) == {"sent": 11, "failed": 1}
    assert wire.states()[3] == "failed"
    assert wire.record("m3").reply == "554 never"
    assert wire.reached() == [f"to{n}@example.com" for n in range(12) if n != 3]
    assert set(wire.attempts()) == {1}


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "content", "end"])
def test_a_message_that_is_put_off_among_others_is_tried_alone(step: str, wire: Wire) -> None:
    """The next attempt is its second, and the others' only one is their first."""
    step = "end" if step == "content" and wire.kind.can(Ability.CHUNKS) else step
    wire.server.script = Once(wire.kind.step(step), "451 later", at=4)
    assert wire.send(*letters(12)) == {"sent": 11, "retrying": 1}
    assert wire.again() == {"sent": 1}
    assert wire.attempts() == [2 if n == 3 else 1 for n in range(12)]
    assert sorted(wire.reached()) == sorted(f"to{n}@example.com" for n in range(12))


def test_a_connection_serves_many_messages(wire: Wire) -> None:
    """Across claims of eight, in the order of the task; at its end the client says so."""
    assert wire.send(*letters(30)) == {"sent": 30}
    assert wire.reached() == [f"to{n}@example.com" for n in range(30)]
    wire.close()
    wait_until(wire.server.has_been_left, 30)
    assert (wire.server.sessions, wire.server.verbs()[-1]) == (1, "QUIT")


def test_each_message_has_its_own_content(wire: Wire) -> None:
    """Also where the message before it has nobody to go to, and whatever was made ready of it."""
    refused = {f"to{n}@example.com" for n in range(3, 40, 5)}

    def script(session: Session, phase: str, command: str) -> str | None:
        address = command.partition("<")[2].partition(">")[0]
        return "550 no such user" if phase == "RCPT" and address in refused else None

    wire.server.script = script
    messages = [letter(f"to{n}@example.com", body=f"Only for {n}\n") for n in range(40)]
    assert wire.send(*messages) == {"sent": 32, "failed": 8}
    assert len(wire.accepted) == 32
    for mail in wire.accepted:
        (address,) = mail.recipients
        number = address.removeprefix("to").partition("@")[0]
        assert f"\r\nTo: {address}\r\n".encode() in mail.content
        assert mail.content.endswith(f"\r\n\r\nOnly for {number}\r\n".encode())


def test_a_connection_carries_no_more_messages_than_it_may(make_wire) -> None:
    """CONNECTION_MAX_MESSAGES counts those under way as well."""
    wire = make_wire(max_messages=7)
    assert wire.send(*letters(30)) == {"sent": 30}
    sessions = range(1, wire.server.sessions + 1)
    assert [wire.server.verbs(n).count("MAIL") for n in sessions] == [7, 7, 7, 7, 2]
    assert wire.reached() == [f"to{n}@example.com" for n in range(30)]


def test_a_worker_that_is_to_stop_sends_what_has_begun_and_no_more(wire: Wire) -> None:
    """The rest goes back untried, and is sent by another."""
    stopped: list[int] = []

    def script(session: Session, phase: str, command: str) -> None:
        if phase == "dot" and addressed(session, 5) and not stopped:
            stopped.append(1)

    wire.stopping = lambda: bool(stopped)
    wire.server.script = script
    sent = wire.send(*letters(30))["sent"]
    assert 6 <= sent <= 6 + 2 * wire.kind.in_flight
    assert Counter(wire.states()) == {"sent": sent, "queued": 30 - sent}
    assert len(wire.accepted) == sent
    stopped.clear()
    wire.stopping = lambda: False
    wire.again()
    assert sorted(wire.reached()) == sorted(f"to{n}@example.com" for n in range(30))


def test_a_close_in_the_middle_leaves_each_message_in_one_state(wire: Wire) -> None:
    """Sent ones have arrived once, and what isn't known to have arrived isn't called sent."""
    wire.server.script = Once("dot", CLOSE, at=5)
    wire.send_out(*letters(20))
    arrived = Counter(wire.reached())
    for record in wire.records():
        assert record.state.value in {"sent", "uncertain"}
        assert arrived[record.recipients[0]] == 1 or record.state.value == "uncertain"
