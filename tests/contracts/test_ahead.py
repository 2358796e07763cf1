"""What a worker has claimed, rendered and made ready in advance, and what comes otherwise."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator

import pytest
import redis

from mailqueue import EmailMessage, get_connection
from mailqueue.delivery.opening import close_connections
from mailqueue.queue import payload
from mailqueue.queue.journal import Journal, Policy, Result, Settlement, open_journal
from mailqueue.queue.payload.blob import Blob
from mailqueue.state import State
from mailqueue.tasks import deliver
from mailqueue.worker.flag import stopping
from tests.line import fate, letters, states, wait_until_renewed
from tests.scripted import ScriptedServer, Session
from tests.support import wait_until

pytestmark = pytest.mark.usefixtures("producer")


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    """A server that this process, where tasks are run, delivers to."""
    with ScriptedServer(features=("PIPELINING",)) as server:
        monkeypatch.setenv("EMAIL_PORT", str(server.port))
        yield server
        close_connections()


def run_task(messages: list[EmailMessage]) -> dict[str, int]:
    return deliver("mailqueue", [{"id": message.mailqueue_id} for message in messages])


def recipient_of(session: Session) -> str:
    return session.mail.recipients[0] if session.mail.recipients else ""


@pytest.mark.parametrize("number", [2, 3, 4, 11])
def test_no_claim_runs_out_while_a_reply_is_half_there(number, here, monkeypatch):
    """Its first line came at once, the rest takes longer than any lease."""
    monkeypatch.setattr("mailqueue.store.spin._MOMENT", 0.3)  # so that all come "at once"
    renewed: list[str] = []

    def script(session: Session, phase: str, command: str) -> None:
        if phase == "dot" and recipient_of(session) == f"to{number}@example.com":
            session.socket.sendall(b"250-wait\r\n")
            renewed.extend(wait_until_renewed())

    here.script = script
    messages = letters(20)
    get_connection().send_messages(messages)
    assert run_task(messages) == {"sent": 20}
    assert renewed


@pytest.mark.parametrize("number", [2, 3, 4, 11])
def test_no_claim_runs_out_and_no_result_waits_while_nobody_wants_a_message(
    number, here, monkeypatch
):
    """The server takes its time for the RSET behind that one; the one before it is on record."""
    monkeypatch.setattr("mailqueue.store.spin._MOMENT", 0.3)
    before: list[str] = []
    renewed: list[str] = []

    def script(session: Session, phase: str, command: str) -> str | None:
        if phase == "RCPT" and f"<to{number}@" in command:
            return "550 no such user"
        if phase == "DATA" and not session.mail.recipients:
            return "503 no recipients"
        if phase == "RSET":
            before.append(fate(messages[number - 1])["state"])
            renewed.extend(wait_until_renewed())
        return None

    here.script = script
    messages = letters(20)
    get_connection().send_messages(messages)
    assert run_task(messages) == {"sent": 19, "failed": 1}
    assert renewed
    assert before == ["sent"]


def test_a_suspect_is_not_touched_before_the_result_before_it_is_on_record(here, monkeypatch):
    """To rebuild it may be what takes a worker down."""
    messages = letters(5)
    get_connection().send_messages(messages)
    suspect = messages[3].mailqueue_id
    journal = open_journal()
    hasty = Journal(journal._client, journal.queue, Policy(lease=0, regrace=0))
    assert len(hasty.claim([(suspect, "")])[0]) == 1
    assert [due.id for due in hasty.release()] == [suspect]
    before: list[str] = []
    loads = payload.loads

    def loaded(text: str, blob: Callable[[str], str | Blob] | None = None) -> EmailMessage:
        if suspect in text:
            before.append(fate(messages[2])["state"])
        return loads(text, blob)

    monkeypatch.setattr("mailqueue.queue.payload.loads", loaded)
    assert run_task(messages) == {"sent": 5}
    assert before == ["sent"]


def test_a_message_that_comes_back_goes_to_those_who_are_still_to_get_it(here, redis_url):
    """It was rendered for all before another worker took it over and served the others."""
    first, late = "to3@example.com", "late@example.com"
    journal = open_journal()
    messages = letters(4)
    messages[3].to = [first, late]

    def script(session: Session, phase: str, command: str) -> None:
        if phase == "dot" and recipient_of(session) == "to2@example.com":
            take_over(journal, messages[3].mailqueue_id, {first: Result(State.SENT, "250 ok")})

    here.script = script
    get_connection().send_messages(messages)
    assert run_task(messages) == {"sent": 3, "stale": 1}
    wait_until(lambda: journal.release() or states()["queued"], 10)
    assert run_task(messages[3:]) == {"sent": 1}
    assert here.accepted[-1].recipients == [late]
    reached = [address for mail in here.accepted for address in mail.recipients]
    assert reached == ["to0@example.com", "to1@example.com", "to2@example.com", late]


@pytest.mark.parametrize("number", [2, 3, 4, 11])
def test_no_claim_runs_out_and_no_result_waits_while_a_connection_is_opened(
    number, here, monkeypatch
):
    """The server has closed behind its 354; the next one takes its time for a greeting."""
    monkeypatch.setattr("mailqueue.store.spin._MOMENT", 0.3)
    monkeypatch.setattr("mailqueue.delivery.smtp.data._TOGETHER", 5.0)
    before: list[str] = []
    renewed: list[str] = []

    def script(session: Session, phase: str, command: str) -> None:
        is_it = recipient_of(session) == f"to{number}@example.com"
        if phase == "DATA" and session.number == 1 and is_it:
            # Along with the end: MSG_MORE lets it go when an earlier reply is acknowledged.
            session.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
            session.socket.send(b"354 go on\r\n")
            session.socket.shutdown(socket.SHUT_RDWR)
        if phase == "connect" and session.number == 2:
            before.append(fate(messages[number - 1])["state"])
            renewed.extend(wait_until_renewed())

    here.script = script
    messages = letters(20)
    get_connection().send_messages(messages)
    assert run_task(messages) == {"sent": 20}
    assert renewed
    assert before == ["sent"]


def take_over(journal: Journal, id_: str, results: dict[str, Result]) -> None:
    """Have another worker claim a message whose lease is over, and serve some of its recipients."""
    client: redis.Redis = journal._client
    client.hset(f"mailqueue:{{mailqueue}}:message:{id_}", "due", 1)
    client.zadd("mailqueue:{mailqueue}:due", {id_: 1})
    journal.release()
    ((claim,), _) = journal.claim([(id_, "")])
    assert journal.settle(claim, Settlement(State.RETRYING, "450 later", results, 0.001))


@pytest.mark.parametrize("moment", [0.0, 0.3])
@pytest.mark.parametrize("number", range(1, 6))
def test_a_worker_that_is_to_stop_sends_what_has_begun_and_no_more(
    number, moment, here, monkeypatch
):
    """Also where more was made ready already."""
    monkeypatch.setattr("mailqueue.store.spin._MOMENT", moment)
    monkeypatch.setattr("mailqueue.delivery.smtp.data._TOGETHER", 5.0)

    def script(session: Session, phase: str, command: str) -> None:
        if phase == "dot" and recipient_of(session) == f"to{number}@example.com":
            time.sleep(0.05 if moment == 0.0 else 0.0)  # a slow server: more is made ready
            stopping.set()

    here.script = script
    messages = letters(20)
    get_connection().send_messages(messages)
    try:
        assert run_task(messages) == {"sent": number + 2}
    finally:
        stopping.clear()
    assert len(here.accepted) == number + 2
    assert states() == {"sent": number + 2, "queued": 18 - number}
