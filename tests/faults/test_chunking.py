"""The SMTP client against servers with CHUNKING, two messages under way and ten."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mailqueue import get_connection
from tests.line import (
    Line,
    Once,
    copies,
    fate,
    journal_calls,
    letters,
    line,
    send,
    states,
    wait_for,
)
from tests.scripted import CLOSE, ScriptedServer, Session
from tests.support import wait_until

pytestmark = pytest.mark.usefixtures("producer")
FEATURES = ("PIPELINING", "CHUNKING", "8BITMIME", "SIZE 100000000")
two = line("two-under-way", *FEATURES, MAILQUEUE_IN_FLIGHT="2")
ten = line("ten-under-way", *FEATURES, MAILQUEUE_IN_FLIGHT="10")
LONG = "A line of the letter.\n" * 150_000  # 3 MB
Answer = bytes | str | None


@pytest.fixture
def server(two: Line, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> ScriptedServer:
    """A server that a worker with IN_FLIGHT = 2 delivers to."""
    return two.as_new(monkeypatch)


@pytest.fixture
def window(ten: Line, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> ScriptedServer:
    """A server that a worker with IN_FLIGHT = 10 delivers to."""
    return ten.as_new(monkeypatch)


@pytest.fixture(params=["two", "ten"])
def either(
    request: pytest.FixtureRequest, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> ScriptedServer:
    """Either of them."""
    found: Line = request.getfixturevalue(request.param)
    return found.as_new(monkeypatch)


def of(number: int, script: Callable[[Session, str], Answer]) -> Callable[..., Answer]:
    """A script for one of the letters that ``send`` writes: its RCPT and what comes after that."""

    def answer(session: Session, phase: str, command: str) -> Answer:
        address = f"to{number}@example.com"
        if address in command or address in session.mail.recipients:
            return script(session, phase)
        return None

    return answer


def wait_for_ten(server: ScriptedServer) -> None:
    """Wait until all replies so far are on record, and ten messages under way."""
    kept = len(server.accepted)
    wait_until(lambda: (states()["sent"], states()["committing"]) == (kept, 10), 20)


def held(server: ScriptedServer, number: int, then: Answer) -> list[int]:
    """At that letter's end, wait until all ten are there, and answer so; how many were read."""
    seen: list[int] = []

    def script(session: Session, phase: str) -> Answer:
        if phase != "dot" or seen:
            return None
        wait_for_ten(server)
        seen.append(len(server.accepted))
        return then

    server.script = of(number, script)
    return seen


# -- what goes over the wire


def test_a_message_is_one_write(server):
    """MAIL, RCPT, BDAT and the content are there at once, each as it should be; nothing more is."""
    had, whole = [], []

    def script(session: Session, phase: str, command: str) -> None:
        if phase == "MAIL":
            wait_until(lambda: session.has_more() or session.number > 1, 10)
            had.append(bytes(session._received))
        elif phase == "dot":
            whole.append(session._received == b"RSET\r\n")

    server.script = script
    send(5, body=".A dot\n..and two\nGrüße\n")
    wait_for({"sent": 5})
    assert server.verbs(1)[:3] == ["EHLO", "MAIL", "RCPT"]
    assert server.verbs().count("DATA") == 0
    assert copies(server) == [1] * 5
    assert all(whole)
    for n, mail in enumerate(server.accepted):
        assert mail.content.endswith(b"\r\n\r\n.A dot\r\n..and two\r\nGr\xc3\xbc\xc3\x9fe\r\n")
        end = f"BDAT {len(mail.content)} LAST\r\n".encode() + mail.content
        assert had[n].startswith(f"RCPT TO:<to{n}@example.com>\r\n".encode())
        assert n == 0 or had[n].endswith(end + b"RSET\r\n")


def test_the_first_part_of_a_connection_holds_no_line(server):
    """A server that offers BDAT and doesn't know it can't take the content for commands."""
    send(2)
    wait_for({"sent": 2})
    sizes = [c.split(" ") for _, c in server.commands if c.startswith("BDAT")]
    assert [size[2:] for size in sizes] == [[], [], ["LAST"], ["LAST"]]
    assert b"\n" not in server.accepted[0].content[: int(sizes[0][1])]
    assert sum(int(size[1]) for size in sizes[:3]) == len(server.accepted[0].content)


@pytest.mark.parametrize("end", ["\n", ""])
def test_a_long_content_goes_in_parts_and_as_it_is(end, either):
    """3 MB with dots, committed before its last two bytes."""
    committed = []

    def script(session: Session, phase: str, command: str) -> None:
        if phase == "BDAT":
            committed.append(states()["committing"])

    either.script = script
    send(3, body=LONG + "." + end)
    wait_for({"sent": 3})
    assert copies(either) == [1] * 3
    content = either.accepted[2].content
    assert content.partition(b"\r\n\r\n")[2] == (LONG + ".\n").replace("\n", "\r\n").encode()
    assert 0 in committed


def test_ten_messages_are_under_way_and_no_more(window):
    """When the first waits for its reply, the nine after it are there, across claims of eight."""
    seen = held(window, 15, None)
    send(100)
    wait_for({"sent": 100}, 60)
    assert len(seen) == 1
    assert copies(window) == [1] * 100
    assert window.sessions == 1


def test_the_journal_is_asked_seldom(window, redis_url):
    """The results of some messages and the commits of the next are one round trip."""
    # 224, were each message asked for.
    assert journal_calls(redis_url, window, 200) <= 120


def test_one_message_at_a_time_asks_the_journal_once_for_each(server, redis_url):
    """The result of a message and the commit of the next are one round trip."""
    assert journal_calls(redis_url, server, 200) <= 200 + 25 + 30


def test_one_message_at_a_time_goes_by_data(start_worker, redis_url):
    """By default nobody is in doubt but the one whose end is sent, whatever the server offers."""
    counts = []

    def script(session: Session, phase: str, command: str) -> None:
        if phase == "dot":
            counts.append((states()["committing"], states()["sent"]))

    with ScriptedServer(script, FEATURES) as server:
        worker = start_worker(EMAIL_PORT=str(server.port))
        send(12)
        wait_until(lambda: states() == {"sent": 12}, 30, worker.explain)
        assert counts == [(1, n) for n in range(12)]
        assert (server.verbs().count("BDAT"), server.verbs().count("DATA")) == (0, 12)


def test_a_result_is_on_record_before_the_next_commit(server):
    """With two under way, there is never a third one between its end and its recorded reply."""
    counts = []

    def script(session: Session, phase: str, command: str) -> None:
        if phase == "dot":
            counts.append((states()["committing"], states()["sent"]))

    server.script = script
    send(12)
    wait_for({"sent": 12})
    assert len(counts) == 12
    assert all(ends <= 2 and sent >= n - 1 for n, (ends, sent) in enumerate(counts))


def test_results_are_on_record_while_the_next_reply_is_awaited(window):
    """A server that dawdles with a message doesn't keep the results before it from the journal."""
    then = []

    def script(session: Session, phase: str) -> None:
        if phase == "dot":
            wait_until(lambda: states()["sent"] == 7, 20)
            then.append(states()["committing"])

    window.script = of(7, script)
    send(8)
    wait_for({"sent": 8})
    assert then == [1]


# -- refusals


@pytest.mark.parametrize("phase", ["MAIL", "RCPT", "dot"])
@pytest.mark.parametrize(("reply", "state"), [("451 later", "sent"), ("554 never", "failed")])
def test_a_refusal_counts_in_the_scope_it_belongs_to(phase, reply, state, either):
    """With others behind it: 4yz is tried again, 5yz never, and the others don't notice."""
    either.script = Once(phase, reply, at=4)
    messages = send(12)
    wait_until(lambda: fate(messages[3])["state"] == state, 30)
    wait_until(lambda: states()["sent"] >= 11, 20)
    assert fate(messages[3])["history"][0]["reply"] == reply
    assert fate(messages[3])["attempts"] == (2 if state == "sent" else 1)
    assert {fate(m)["attempts"] for m in messages if m is not messages[3]} == {1}
    assert copies(either) == [1] * (12 if state == "sent" else 11)


@pytest.mark.parametrize("number", [0, 3])
def test_nobody_gets_a_message_that_each_recipient_refused(number, either):
    """The content that was written for nobody is swallowed; the next message is sent."""

    def refuse(session: Session, phase: str) -> Answer:
        return "550 no such user" if phase == "RCPT" else None

    either.script = of(number, refuse)
    messages = send(6)
    wait_for({"sent": 5, "failed": 1})
    assert fate(messages[number])["reply"] == "550 no such user"
    assert copies(either) == [1] * 5
    assert either.sessions == 1


def test_each_of_many_recipients_gets_what_its_reply_said(window):
    """In the middle of others: 250, 450, 550, and 452 for more than fit into one transaction."""
    answers = {"b@example.com": ["450 busy"], "c@example.com": ["550 no such user"]}

    def script(session: Session, phase: str, command: str) -> Answer:
        address = command.partition("<")[2].partition(">")[0]
        if phase == "RCPT" and len(session.mail.recipients) == 20:
            return "452 4.5.3 too many recipients"
        return answers[address].pop(0) if phase == "RCPT" and answers.get(address) else None

    window.script = script
    messages = letters(6)
    messages[2].to = [f"{c}@example.com" for c in "abc"]
    messages[4].to = [f"many{n}@example.com" for n in range(50)]
    get_connection().send_messages(messages)
    wait_for({"sent": 5, "partial": 1})
    found = {r["address"][0]: (r["state"], r["reply"]) for r in fate(messages[2])["recipients"]}
    assert found["a"] == found["b"] == ("sent", "250 2.0.0 kept")
    assert found["c"] == ("failed", "550 no such user")
    parts = [m.recipients for m in window.accepted if m.recipients[0].startswith("many")]
    assert [len(part) for part in parts] == [20, 20, 10]
    assert sorted(address for part in parts for address in part) == sorted(messages[4].to)


def test_a_long_content_may_be_refused_in_its_middle(either):
    """552 and a close: failed with the 552, nothing in doubt, and not tried again."""

    def refuse(session: Session, phase: str) -> Answer:
        if phase == "body":
            session.socket.sendall(b"552 too large\r\n")
            for _ in range(5):
                session.socket.recv(65536)
            return CLOSE
        return None

    either.script = of(1, refuse)
    messages = send(3, body=LONG * 4)
    wait_for({"sent": 2, "failed": 1})
    assert fate(messages[1])["reply"] == "552 too large"
    assert fate(messages[1])["attempts"] == 1


# -- servers that don't keep their word


@pytest.mark.parametrize("in_flight", ["2", "10"])
@pytest.mark.parametrize("reply", ["500 what", "502 no", "503 no", CLOSE, b"garbage\r\n"], ids=str)
def test_a_server_that_offers_bdat_and_refuses_it_gets_data(
    reply, in_flight, start_worker, redis_url
):
    """Nobody is charged, and from then on it isn't tried again."""

    def script(session: Session, phase: str, command: str) -> Answer:
        return reply if phase == "BDAT" else None

    with ScriptedServer(script, FEATURES) as server:
        worker = start_worker(
            EMAIL_PORT=str(server.port),
            MAILQUEUE_IN_FLIGHT=in_flight,
            MAILQUEUE_CONNECTION_MAX_MESSAGES="4",
        )
        messages = send(12)
        wait_until(lambda: states() == {"sent": 12}, 30, worker.explain)
        assert copies(server) == [1] * 12
        assert {fate(message)["attempts"] for message in messages} == {1}
        assert (server.verbs().count("BDAT"), server.verbs().count("DATA")) == (1, 12)


def test_a_server_that_refuses_bdat_later_gets_data_too(start_worker, redis_url):
    """Those behind the refused one are in doubt, and no message fails."""
    with ScriptedServer(Once("dot", "503 bad sequence", at=3), FEATURES) as server:
        worker = start_worker(EMAIL_PORT=str(server.port), MAILQUEUE_IN_FLIGHT="2")
        messages = send(12)
        wait_until(lambda: states() == {"sent": 11, "uncertain": 1}, 30, worker.explain)
        assert {fate(message)["attempts"] for message in messages} == {1}
        assert copies(server) == [1] * 12
        assert server.verbs().count("DATA") == 9


@pytest.mark.parametrize("at", [1, 2, 5])
@pytest.mark.parametrize("after", ["MAIL", "RCPT"])
def test_a_line_that_nobody_asked_for_is_never_read_as_an_answer(after, at, either):
    """All replies are 250: one too many, and the refusal that follows must not read as sent."""
    extra = Once(after, b"250 OK\r\n250 extra\r\n", at=at)

    def script(session: Session, phase: str, command: str) -> Answer:
        refused = phase == "dot" and session.number == 1 and extra.seen >= at
        return "554 refused" if refused else extra(session, phase, command)

    either.script = script
    messages = send(8)
    wait_until(lambda: set(states()) <= {"sent", "uncertain", "failed"}, 30)
    arrived = {mail.recipients[0] for mail in either.accepted}
    assert {m.to[0] for m in messages if fate(m)["state"] == "sent"} <= arrived
    assert states()["sent"] >= 1
