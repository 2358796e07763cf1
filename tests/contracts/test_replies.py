"""What a server answers decides about the message or about the server, however it answers."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from mailqueue.backends.smtp import EmailBackend
from mailqueue.delivery.retry import RetryPolicy
from mailqueue.delivery.smtp.transaction import PHASE_TIMEOUTS, Phase
from mailqueue.delivery.smtp.transport import SmtpTransport
from mailqueue.queue.journal import Journal
from mailqueue.state import State
from mailqueue.store.client import connect
from tests.contracts.delivering import (
    LAST_TRY,
    connected,
    deliver,
    letter,
    post,
    record,
    results,
)
from tests.contracts.journals import POLICY
from tests.scripted import CLOSE, SILENCE, ScriptedServer, Session

LONG = "A line of the letter.\n" * 150_000  # beyond what is written in one go
FEATURES = {
    "one by one": ("8BITMIME",),
    "pipelined": ("8BITMIME", "PIPELINING"),
    "chunked": ("8BITMIME", "PIPELINING", "CHUNKING"),
}


@pytest.fixture
def journal(redis_url: str) -> Journal:
    return Journal(connect(redis_url, 5.0), "q", POLICY)


@pytest.fixture(params=FEATURES)
def server(request: pytest.FixtureRequest) -> Iterator[ScriptedServer]:
    with ScriptedServer(features=FEATURES[request.param]) as found:
        yield found


def answering(**replies: str):
    """A script that answers to RCPT by the recipient's local part, each time the same."""

    def script(session: Session, phase: str, command: str) -> str | None:
        name = command.partition("<")[2].partition("@")[0]
        return replies.get(name) if phase == "RCPT" else None

    return script


@pytest.mark.parametrize("body", ["A letter", LONG], ids=["short", "long"])
def test_a_421_in_the_middle_of_the_content_charges_nobody(body, journal, server):
    """A 421 in the middle of the content charges nobody: the message goes back."""

    def leave(session: Session, phase: str, command: str) -> bytes | None:
        if phase != "body":
            return None
        session.socket.sendall(b"421 4.3.2 going down\r\n")
        while session.socket.recv(65536):  # until the client leaves
            pass
        return CLOSE

    server.script = leave
    post(journal, letter(body=body))
    with connected(server) as connection:
        assert deliver(journal, connection) == {}
        found = record(journal)
        assert (found.state, found.attempts, found.results) == (State.RETRYING, 0, {})
        assert connection.pause > 0
    assert server.accepted == []


def test_a_552_to_a_sole_recipient_is_a_refusal_for_good(journal, server):
    """A 552 to a sole recipient refuses for good: only behind an accepted one it means too many."""
    server.script = answering(full="552 5.2.2 mailbox full")
    post(journal, letter("full@example.com"))
    with connected(server) as connection:
        assert deliver(journal, connection) == {"failed": 1}
    assert results(journal) == {"full@example.com": ("failed", "552 5.2.2 mailbox full")}
    assert record(journal).attempts == 1


def test_a_452_to_a_sole_recipient_is_a_refusal_for_now(journal, server):
    """A sole recipient's 452 waits for the next try, and nobody asks again at once."""
    server.script = answering(busy="452 4.3.1 no room")
    post(journal, letter("busy@example.com"))
    with connected(server) as connection:
        assert deliver(journal, connection) == {"retrying": 1}
    assert server.verbs().count("MAIL") == 1


def test_at_the_schedules_end_those_beyond_the_servers_limit_are_still_sent_to(journal, server):
    """The last try, too, has as many transactions as the server's limit makes necessary."""

    def script(session: Session, phase: str, command: str) -> str | None:
        is_full = phase == "RCPT" and len(session.mail.recipients) == 2
        return "452 4.5.3 too many recipients" if is_full else None

    server.script = script
    post(journal, letter(*(f"to{n}@example.com" for n in range(5))))
    with connected(server) as connection:
        assert deliver(journal, connection, policy=LAST_TRY) == {"queued": 2, "sent": 1}
    assert [len(mail.recipients) for mail in server.accepted] == [2, 2, 1]


def test_a_next_transaction_of_the_same_attempt_is_no_further_try(journal, server):
    """A recipient who is put off in a next transaction waits for the one try that is left."""
    server.script = answering(busy="452 4.3.1 no room")
    post(journal, letter("to@example.com", "busy@example.com"))
    one_more = RetryPolicy(delays=(3600,), max_age=86400, doubt=3600)
    with connected(server) as connection:
        assert deliver(journal, connection, policy=one_more) == {"queued": 1, "retrying": 1}
    assert results(journal) == {"to@example.com": ("sent", "250 2.0.0 kept")}


def test_who_is_refused_for_now_at_the_schedules_end_has_failed_and_nobody_else_has(
    journal, server
):
    """A recipient's 452 at the schedule's end is its own failure; others stay served."""
    server.script = answering(busy="452 4.3.1 no room")
    post(journal, letter("to@example.com", "busy@example.com"))
    with connected(server) as connection:
        assert deliver(journal, connection, policy=LAST_TRY) == {"queued": 1, "partial": 1}
    assert results(journal) == {
        "to@example.com": ("sent", "250 2.0.0 kept"),
        "busy@example.com": ("failed", "452 4.3.1 no room"),
    }
    assert [mail.recipients for mail in server.accepted] == [["to@example.com"]]


def never_ends(at: str, part: bytes):
    """A script that at that phase begins an answer and goes on with it until the client leaves."""

    def script(session: Session, phase: str, command: str) -> None:
        if phase == at:
            session.socket.sendall(b"250")
            while True:  # ended by the OSError of a connection that is closed
                session.socket.sendall(part)

    return script


ENDLESS = {"one line": b" and more", "many lines": b"-more\r\n250"}


@pytest.mark.parametrize("phase", ["MAIL", "RCPT"])
@pytest.mark.parametrize("part", ENDLESS.values(), ids=ENDLESS)
def test_a_reply_that_never_ends_is_the_servers_trouble(part, phase, journal, server):
    """A reply without an end is waited for no longer, and the message is charged nothing."""
    server.script = never_ends(phase, part)
    post(journal, letter())
    with connected(server) as connection:
        assert deliver(journal, connection) == {}
    found = record(journal)
    assert (found.state, found.attempts) == (State.RETRYING, 0)
    assert "a reply of more than" in found.reply or "unreadable reply" in found.reply


@pytest.mark.parametrize("part", ENDLESS.values(), ids=ENDLESS)
def test_a_reply_to_the_dot_that_never_ends_leaves_the_message_in_doubt(part, journal, server):
    """A reply to the dot that begins with 250 and never ends leaves the message uncertain."""
    server.script = never_ends("dot", part)
    post(journal, letter())
    with connected(server) as connection:
        assert deliver(journal, connection) == {"uncertain": 1}
    found = record(journal)
    assert (found.state, found.results) == (State.UNCERTAIN, {})


def drips(at: str):
    """A script that at that phase says 250 for ever, a letter at a time."""

    def script(session: Session, phase: str, command: str) -> None:
        if phase == at:
            session.socket.sendall(b"250 ")
            while True:  # ended by the OSError of a connection that is closed
                session.socket.sendall(b"x")
                time.sleep(0.005)

    return script


def test_a_reply_that_drips_is_waited_for_no_longer_than_any_other(journal, server):
    """A reply's time is for the whole of it, however soon each letter comes after the last."""
    server.script = drips("MAIL")
    post(journal, letter())
    with connected(server, timeout=0.2) as connection:
        assert deliver(journal, connection) == {}
    found = record(journal)
    assert (found.state, found.attempts) == (State.RETRYING, 0)
    assert "timed out" in found.reply


def test_a_reply_to_the_dot_that_drips_leaves_the_message_in_doubt(journal, server, monkeypatch):
    """A reply to the dot that isn't whole in time leaves the message uncertain."""
    monkeypatch.setitem(PHASE_TIMEOUTS, Phase.DOT, 0.2)
    server.script = drips("dot")
    post(journal, letter())
    with connected(server) as connection:
        assert deliver(journal, connection) == {"uncertain": 1}
    assert "timed out" in record(journal).reply


def test_a_reply_may_come_in_many_pieces(journal, server):
    """A reply is read whole, though each of its letters comes in a packet of its own."""
    usual = {"BDAT": b"250 OK", "dot": b"250-kept\r\n250 it"}

    def script(session: Session, phase: str, command: str) -> bytes | None:
        if phase not in usual:
            return None
        for number in usual[phase] + b"\r\n":
            session.socket.sendall(bytes([number]))
        return SILENCE

    server.script = script
    post(journal, letter())
    with connected(server) as connection:
        assert deliver(journal, connection) == {"sent": 1}
    assert results(journal) == {"to@example.com": ("sent", "250 kept it")}


RFC_5321 = {"MAIL": 300, "RCPT": 300, "DATA": 120, "message body": 180, "final dot": 600}  # 4.5.3.2


@pytest.mark.parametrize(
    ("timeout", "expected"),
    [
        (None, RFC_5321),
        (150, {"MAIL": 150, "RCPT": 150, "DATA": 120, "message body": 150, "final dot": 600}),
        (3600, RFC_5321),
    ],
)
def test_email_timeout_shortens_each_wait_but_that_for_the_final_reply(timeout, expected, server):
    """EMAIL_TIMEOUT shortens RFC 5321's time-outs but the final reply's, and lengthens none."""
    transport = SmtpTransport(EmailBackend(host="127.0.0.1", port=server.port), timeout)
    found = {phase.value: seconds for phase, seconds in transport._session.seconds.items()}
    transport.close()
    assert found | expected == found
