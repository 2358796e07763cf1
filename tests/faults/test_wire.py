"""The SMTP client against servers that pipeline, dawdle, vanish and talk nonsense."""

from __future__ import annotations

import socket
import time

import pytest

from mailqueue import EmailMessage, get_connection
from mailqueue.delivery.smtp.dialogue import Dialogue
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
from tests.proxy import Proxy
from tests.scripted import CLOSE, RESET, ScriptedServer, Session
from tests.support import wait_until

pytestmark = pytest.mark.usefixtures("producer")
one_by_one = line("one-by-one", "8BITMIME", "SIZE 100000000")
pipelining = line("pipelining", "PIPELINING", "8BITMIME", "SIZE 100000000")
chunking = line("chunking", "PIPELINING", "CHUNKING", "8BITMIME", "SIZE 100000000")


@pytest.fixture(params=["one_by_one", "pipelining"])
def server(
    request: pytest.FixtureRequest, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> ScriptedServer:
    """A scripted server without and with PIPELINING, as good as new, that a worker delivers to."""
    found: Line = request.getfixturevalue(request.param)
    return found.as_new(monkeypatch)


@pytest.fixture(params=["one_by_one", "pipelining", "chunking"])
def any_server(
    request: pytest.FixtureRequest, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> ScriptedServer:
    """The same, and one with CHUNKING."""
    found: Line = request.getfixturevalue(request.param)
    return found.as_new(monkeypatch)


@pytest.fixture
def pipelining_server(
    pipelining: Line, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> ScriptedServer:
    return pipelining.as_new(monkeypatch)


def test_the_next_envelope_comes_with_a_messages_end(pipelining_server):
    """One round trip a message: when the server answers a dot, the next MAIL is there already."""
    ahead = []

    def script(session: Session, phase: str, command: str) -> None:
        if phase == "dot":
            ahead.append(session.has_more())

    pipelining_server.script = script
    send(40)
    wait_for({"sent": 40})
    assert copies(pipelining_server) == [1] * 40
    assert pipelining_server.sessions == 1
    assert ahead.count(True) == 39


def test_what_is_made_ready_in_advance_goes_with_its_own_envelope(any_server):
    """While a server takes its time; also where the message before it has nobody to go to."""
    refused = {f"to{n}@example.com" for n in range(3, 60, 5)}

    def script(session: Session, phase: str, command: str) -> str | None:
        if phase == "dot" and len(any_server.accepted) % 4:
            time.sleep(0.003)  # longer than a worker stays awake
        address = command.partition("<")[2].partition(">")[0]
        return "550 no such user" if phase == "RCPT" and address in refused else None

    any_server.script = script
    messages = letters(60)
    for message in messages:
        message.body = f"Only for {message.to[0]}"
    get_connection().send_messages(messages)
    wait_for({"sent": 48, "failed": 12})
    assert copies(any_server) == [1] * 48
    for mail in any_server.accepted:
        (address,) = mail.recipients
        assert f"\r\nTo: {address}\r\n".encode() in mail.content
        assert mail.content.endswith(f"\r\n\r\nOnly for {address}\r\n".encode())


def test_the_journal_is_asked_once_for_each_message(pipelining_server, redis_url):
    """The result of a message and the commit of the next are one round trip."""
    # 200 messages in two tasks: accept, claims of eight, the timer's beats, and one a message.
    assert journal_calls(redis_url, pipelining_server, 200) <= 200 + 25 + 30


def test_nobody_is_charged_for_a_connection_that_closes_between_messages(server):
    """After a message's reply and before the next one's: over a new connection, at no cost."""
    server.script = Once("MAIL", CLOSE, at=3)
    messages = send(6)
    wait_for({"sent": 6})
    assert copies(server) == [1] * 6
    assert {fate(message)["attempts"] for message in messages} == {1}


@pytest.mark.parametrize("phase", ["MAIL", "RCPT", "DATA", "dot"])
@pytest.mark.parametrize(("reply", "state"), [("451 later", "sent"), ("554 never", "failed")])
def test_a_refusal_counts_in_the_scope_it_belongs_to(phase, reply, state, server):
    """4yz is tried again by the schedule, 5yz never, and the other messages don't notice."""
    server.script = Once(phase, reply, at=2)
    messages = send(4)
    wait_until(lambda: fate(messages[1])["state"] == state, 30)
    wait_until(lambda: states()["sent"] >= 3, 20)
    refused = fate(messages[1])
    assert refused["history"][0]["reply"] == reply
    assert refused["attempts"] == (2 if state == "sent" else 1)
    assert [fate(m)["attempts"] for m in messages if m is not messages[1]] == [1, 1, 1]
    assert len(server.accepted) == (4 if state == "sent" else 3)


@pytest.mark.parametrize("phase", ["connect", "EHLO", "MAIL", "RCPT", "DATA", "dot"])
def test_a_421_is_the_servers_trouble(phase, any_server):
    """Wherever it comes: a new connection or a later one, and no attempt is charged."""
    any_server.script = Once(phase, "421 going down")
    messages = send(3)
    wait_for({"sent": 3})
    assert copies(any_server) == [1] * 3
    assert {fate(message)["attempts"] for message in messages} == {1}


def test_three_recipients_get_what_their_replies_said(any_server):
    """250, 450, 550: accepted once, tried again alone, failed."""
    answers = {"b@example.com": ["450 busy"], "c@example.com": ["550 no such user"]}

    def script(session: Session, phase: str, command: str) -> str | None:
        address = command.partition("<")[2].partition(">")[0]
        return answers[address].pop(0) if phase == "RCPT" and answers.get(address) else None

    any_server.script = script
    (message,) = send(1, to=["a@example.com", "b@example.com", "c@example.com"])
    wait_for({"partial": 1})
    assert [mail.recipients for mail in any_server.accepted] == [
        ["a@example.com"],
        ["b@example.com"],
    ]
    found = {r["address"][0]: (r["state"], r["reply"]) for r in fate(message)["recipients"]}
    assert found == {
        "a": ("sent", "250 2.0.0 kept"),
        "b": ("sent", "250 2.0.0 kept"),
        "c": ("failed", "550 no such user"),
    }


def test_too_many_recipients_go_in_several_transactions_at_once(any_server):
    """452 after 100 of 250: three transactions at once, each recipient in one of them."""

    def script(session: Session, phase: str, command: str) -> str | None:
        full = phase == "RCPT" and len(session.mail.recipients) == 100
        return "452 4.5.3 too many recipients" if full else None

    any_server.script = script
    (message,) = send(1, to=[f"to{n}@example.com" for n in range(250)])
    wait_for({"sent": 1})
    assert [len(mail.recipients) for mail in any_server.accepted] == [100, 100, 50]
    assert [h["state"] for h in fate(message)["history"]] == ["queued", "queued", "sent"]
    reached = [address for mail in any_server.accepted for address in mail.recipients]
    assert sorted(reached) == sorted(message.to)


@pytest.mark.parametrize("answer_to_data", ["354 go ahead", "554 no valid recipients"])
def test_nobody_gets_a_message_that_each_recipient_refused(answer_to_data, server):
    """Also where the server, having been asked along with them, takes the content (RFC 2920)."""

    def script(session: Session, phase: str, command: str) -> str | None:
        if phase == "RCPT" and "to1@" in command:
            return "550 no such user"
        nobody = phase == "DATA" and not session.mail.recipients
        return answer_to_data if nobody else None

    server.script = script
    messages = send(3)
    wait_for({"sent": 2, "failed": 1})
    assert fate(messages[1])["reply"] == "550 no such user"
    assert len(server.accepted) == 2


@pytest.mark.parametrize("after", ["EHLO", "MAIL", "RCPT", "DATA"])
def test_a_line_that_nobody_asked_for_is_never_read_as_an_answer(after, any_server):
    """An extra 250: replies would be off by one from there, and a refusal would read as sent."""
    usual = {
        "EHLO": b"250 scripted\r\n",
        "MAIL": b"250 OK\r\n",
        "RCPT": b"250 OK\r\n",
        "DATA": b"354 go ahead\r\n",
    }
    extra = Once(after, usual[after] + b"250 extra\r\n")

    def script(session: Session, phase: str, command: str) -> bytes | str | None:
        refused = phase == "dot" and session.number == 1
        return "554 refused" if refused else extra(session, phase, command)

    any_server.script = script
    (message,) = send(1)
    wait_until(lambda: fate(message)["state"] in {"sent", "failed"}, 30)
    assert (fate(message)["state"] == "sent") == (len(any_server.accepted) == 1)
    assert fate(message)["attempts"] == 1


@pytest.mark.parametrize("phase", ["connect", "EHLO", "MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize(
    "reply",
    [b"garbage\r\n", b"\r\n", b"250 " + b"x" * 9000 + b"\r\n", b"999 no such code\r\n"],
    ids=["garbage", "empty", "9 kB", "999"],
)
def test_nonsense_before_the_dot_ends_the_connection(phase, reply, pipelining_server):
    """The message goes over a new one, at no cost, and once."""
    pipelining_server.script = Once(phase, reply)
    (message,) = send(1)
    wait_for({"sent": 1})
    assert copies(pipelining_server) == [1]
    assert fate(message)["attempts"] == 1


@pytest.mark.parametrize(
    "reply",
    [CLOSE, RESET, b"garbage\r\n", b"354 what\r\n"],
    ids=["close", "reset", "garbage", "354"],
)
def test_a_dot_without_an_answer_leaves_the_message_uncertain(reply, any_server):
    """It may have arrived: never read as sent, and the next message's reply isn't taken for its."""
    any_server.script = Once("dot", reply)
    messages = send(3)
    wait_for({"uncertain": 1, "sent": 2})
    assert fate(messages[0])["state"] == "uncertain"
    assert set(copies(any_server)) == {1}


@pytest.mark.parametrize(("phase", "reply"), [("DATA", CLOSE), ("DATA", RESET)])
def test_a_connection_lost_before_the_content_makes_no_copy(phase, reply, server):
    """Nothing was sent: it is sent over the next connection."""
    server.script = Once(phase, reply)
    send(2)
    wait_for({"sent": 2})
    assert copies(server) == [1] * 2


def test_a_connection_lost_in_the_content_makes_no_copy(any_server):
    """A content of 3 MB, cut off in its middle."""

    def read_some(session: Session, phase: str, command: str) -> bytes | None:
        if phase == "body" and session.number == 1:
            session.socket.recv(100_000)
            return RESET
        return None

    any_server.script = read_some
    (message,) = send(1, body="A line of the letter.\n" * 150_000)
    wait_for({"sent": 1})
    assert copies(any_server) == [1]
    assert fate(message)["attempts"] == 1


def test_a_refusal_in_the_middle_of_the_content_is_read(any_server):
    """552 and a close, before the client has written all of 20 MB: failed, and not tried again."""

    def refuse(session: Session, phase: str, command: str) -> bytes | None:
        if phase == "body":
            session.socket.sendall(b"552 too large\r\n")
            for _ in range(50):
                session.socket.recv(65536)
            return CLOSE
        return None

    any_server.script = refuse
    (message,) = send(1, body="A line of the letter.\n" * 900_000)
    wait_for({"failed": 1})
    assert fate(message)["reply"] == "552 too large"
    assert (fate(message)["attempts"], any_server.accepted) == (1, [])


def test_a_result_is_on_record_while_the_next_envelope_waits(pipelining_server):
    """A server that dawdles with the next RCPT doesn't keep the last result from the journal."""
    states_then = []

    def script(session: Session, phase: str, command: str) -> None:
        if phase == "RCPT" and "to1@" in command:
            wait_until(lambda: fate(messages[0])["state"] == "sent", 20)
            states_then.append(fate(messages[0])["state"])

    messages = [
        EmailMessage(f"News {n}", "All", "news@example.com", [f"to{n}@example.com"])
        for n in range(2)
    ]
    pipelining_server.script = script
    get_connection().send_messages(messages)
    wait_for({"sent": 2})
    assert states_then == ["sent"]


def test_a_result_is_on_record_before_a_long_content_is_sent(pipelining_server):
    """A content of 3 MB may take minutes: the reply before it doesn't wait for that."""
    states_then = []

    def script(session: Session, phase: str, command: str) -> None:
        if phase == "body" and session.mail.recipients == ["to1@example.com"]:
            wait_until(lambda: fate(messages[0])["state"] == "sent", 20)
            states_then.append(fate(messages[0])["state"])

    messages = [
        EmailMessage(f"News {n}", body, "news@example.com", [f"to{n}@example.com"])
        for n, body in enumerate(["Short", "A line of the letter.\n" * 150_000])
    ]
    pipelining_server.script = script
    get_connection().send_messages(messages)
    wait_for({"sent": 2})
    assert states_then == ["sent"]


@pytest.mark.parametrize(
    "features",
    [(), ("PIPELINING",), ("PIPELINING", "CHUNKING")],
    ids=["one by one", "pipelined", "chunked"],
)
def test_no_end_goes_out_before_the_journals_answer(features, start_worker, valkey):
    """The journal has allowed it, and nobody learns that: the connection ends before the dot."""
    with Proxy(valkey.port) as proxy:

        def script(session: Session, phase: str, command: str) -> None:
            if phase == "MAIL":
                proxy.hold_replies()

        with ScriptedServer(script, features) as server:
            worker = start_worker(
                EMAIL_PORT=str(server.port),
                MAILQUEUE_JOURNAL_URL=f"redis://127.0.0.1:{proxy.port}/0",
                MAILQUEUE_ENQUEUE_TIMEOUT="1s",
            )
            send(2)
            wait_until(lambda: states()["committing"] == 1, 20, worker.explain)
            wait_until(server.has_been_left, 20, worker.explain)
            assert server.accepted == []


def test_a_reply_that_is_waited_for_no_longer_is_a_timeout():
    """Also where no time is left at all."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        mine = socket.create_connection(listener.getsockname())
        with mine, listener.accept()[0], pytest.raises(TimeoutError):
            Dialogue(mine).read(0)
