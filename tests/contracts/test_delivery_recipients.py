"""What is on record of each recipient, and shown: of those who wait, and where a message ended."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from mailqueue.delivery.connection import Connection
from mailqueue.monitor import report
from mailqueue.queue import payload
from mailqueue.queue.journal import Entry, Journal, SettledClaim, Settlement, open_journal
from mailqueue.queue.spool import current_spool
from mailqueue.state import State
from tests.contracts.delivering import command, connected, deliver, ended, letter, post, record
from tests.contracts.journals import hasty
from tests.scripted import ScriptedServer, Session

ANN, BOB, CY = "Ann <ann@example.com>", "bob@example.com", "cy@example.com"


@pytest.fixture
def journal(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Journal:
    monkeypatch.setenv("MAILQUEUE_BROKER_URL", redis_url)
    return open_journal()


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as found:
        yield found


@pytest.fixture
def connection(server: ScriptedServer) -> Iterator[Connection]:
    with connected(server) as found:
        yield found


def answers(server: ScriptedServer, **replies: str) -> None:
    """Have RCPT answered so, by the recipient's local part."""

    def script(session: Session, phase: str, command: str) -> str | None:
        return replies.get(command.partition("<")[2].partition("@")[0]) if phase == "RCPT" else None

    server.script = script


def shown() -> dict[str, tuple[str, str]]:
    """Each recipient's state and reply, as `mailqueue show` has them."""
    found = json.loads(command("show", "m", "--json"))
    return {one["address"]: (one["state"], one["reply"]) for one in found["recipients"]}


def accept_text(journal: Journal, text: str) -> None:
    """Have the journal accept a payload that no message makes."""
    summary = payload.summary(letter(ANN, BOB), [ANN, BOB])
    journal.accept([Entry("m", text, payload.digest(text), summary)])


# -- who waits


def test_each_recipient_who_waits_has_its_own_reply(journal, server, connection):
    """The newest one, beside the results of the others; each attempt keeps what it was told."""
    answers(server, bob="450 4.2.2 full", cy="451 4.7.1 grey")
    post(journal, letter(ANN, BOB, CY))
    assert deliver(journal, connection) == {"retrying": 1}
    first = {BOB: "450 4.2.2 full", CY: "451 4.7.1 grey"}
    assert record(journal).replies == first
    assert shown()[BOB] == ("waiting", "450 4.2.2 full")
    assert shown()[CY] == ("waiting", "451 4.7.1 grey")
    assert shown()[ANN][0] == "sent"
    answers(server, bob="452 4.2.2 still full", cy="550 5.1.1 unknown")
    journal._client.hset("mailqueue:{mailqueue}:message:m", "due", 0)
    assert deliver(journal, connection) == {"retrying": 1}
    second = {BOB: "452 4.2.2 still full", CY: "550 5.1.1 unknown"}
    assert [dict(attempt.replies) for attempt in record(journal).history] == [first, second]
    assert record(journal).replies == {BOB: "452 4.2.2 still full"}
    assert shown()[CY] == ("failed", "550 5.1.1 unknown")


def test_show_has_a_line_for_each_reply_of_an_attempt(journal, server, connection):
    """As text and as JSON; an attempt that all have in common needs one line."""
    answers(server, bob="450 4.2.2 full", cy="451 4.7.1 grey")
    post(journal, letter(ANN, BOB, CY))
    deliver(journal, connection)
    lines = [line.strip() for line in command("show", "m").splitlines()]
    assert f"{BOB}: 450 4.2.2 full" in lines
    assert f"{CY}: 451 4.7.1 grey" in lines
    (attempt,) = report.show("m")["history"]
    assert attempt["replies"] == [
        {"address": BOB, "reply": "450 4.2.2 full"},
        {"address": CY, "reply": "451 4.7.1 grey"},
    ]


def test_what_was_said_is_sealed(journal, server, connection, monkeypatch):
    """A reply often repeats the address."""
    monkeypatch.setenv("MAILQUEUE_SECRET_KEYS", "A" * 43 + "=")
    sealed = open_journal()
    answers(server, bob="450 4.2.2 full up")
    post(sealed, letter(BOB))
    deliver(sealed, connection)
    line = sealed._client.hget("mailqueue:{mailqueue}:message:m", "log:1")
    assert "full up" not in line
    assert BOB not in line
    assert shown() == {BOB: ("waiting", "450 4.2.2 full up")}


def test_a_result_that_waits_on_the_disk_keeps_the_replies(journal):
    """The spool hands over all of it."""
    post(journal, letter(ANN, BOB))
    (claim,), _ = journal.claim([("m", "")])
    later = Settlement(State.RETRYING, "450 full", {}, 30, {BOB: "450 full"})
    current_spool().keep_result(journal.queue, SettledClaim(claim, later))
    assert current_spool().replay().recorded == 1
    assert record(journal).replies == {BOB: "450 full"}


# -- where a message has ended


def test_a_message_that_can_not_be_rendered_has_failed_for_each_recipient(journal, connection):
    """Nobody waits for anything, and each has the reason."""
    accept_text(
        journal, payload.dumps(letter(ANN, BOB), "m").replace('"Hello"', '"Hello\\nBcc: x@y"')
    )
    assert deliver(journal, connection) == {"failed": 1}
    assert {state for state, _ in shown().values()} == {"failed"}
    assert all("Hello" in reply for _, reply in shown().values())
    stored = json.loads(journal._client.hget("mailqueue:{mailqueue}:message:m", "results"))
    assert set(stored) == {ANN, BOB}


def test_a_message_that_some_have_and_that_can_not_be_rendered_any_more_is_partial(
    journal, server, connection
):
    """It isn't on record as failed, since there are those who have it."""
    answers(server, bob="450 4.2.2 full")
    post(journal, letter(ANN, BOB))
    deliver(journal, connection)
    key = "mailqueue:{mailqueue}:message:m"
    text = payload.dumps(letter(ANN, BOB), "m").replace('"Hello"', '"Hello\\nBcc: x@y"')
    journal._client.hset(key, mapping={"due": 0, "payload": text})
    assert deliver(journal, connection) == {"partial": 1}
    assert {address: state for address, (state, _) in shown().items()} == {
        ANN: "sent",
        BOB: "failed",
    }


def test_a_payload_that_can_not_be_read_has_failed_for_each_recipient(journal, connection):
    """Whom it was for is known from the summary."""
    accept_text(journal, "{}")
    assert deliver(journal, connection) == {"failed": 1}
    assert {state for state, _ in shown().values()} == {"failed"}


@pytest.mark.parametrize("end", [State.CANCELLED, State.FAILED, State.PARTIAL])
def test_nobody_waits_once_a_message_has_ended(end, journal):
    """Whoever has no result of their own has the message's."""
    ended(journal, end, "m")
    states = {state for state, _ in shown().values()}
    assert states == {"cancelled"} if end is State.CANCELLED else "failed" in states
    assert "waiting" not in states


def test_a_message_that_lost_too_many_workers_has_failed_for_each_recipient(journal):
    """Each has the reason, as the message has."""
    post(journal, letter(ANN, BOB))
    once = hasty(journal)
    for _ in range(once.policy.max_lost):
        once.claim([("m", "")])
    once.release()
    assert set(shown().values()) == {("failed", "the worker vanished while sending")}


# -- lists


def test_a_list_misses_nothing_that_moves_while_it_is_read(journal):
    """Which messages there are is looked up at one moment, and each is there once."""
    journal.accept([])
    ended(journal, State.FAILED, "m")
    for id_ in ("n", "o"):
        post(journal, letter(), id_)
    found = report.records(report.Filter())
    ids = [next(found).id]
    journal.retry(["m"])  # back to what has been read
    claim = journal.claim([("o", ""), ("n", "")])[0]
    journal.advance([SettledClaim(one, Settlement(State.SENT, "250 ok")) for one in claim], [])
    ids += [one.id for one in found]
    assert sorted(ids) == ["m", "n", "o"]


def test_a_list_of_a_state_holds_no_other(journal):
    """What has left that state meanwhile isn't among them; a limit holds for each state."""
    for id_ in ("m", "n", "o"):
        post(journal, letter(), id_)
    found = report.records(report.Filter(State.QUEUED))
    journal.cancel(["n"])
    assert sorted(one.id for one in found) == ["m", "o"]
    assert len(report.find(report.Filter(State.QUEUED), 1)) == 1
    assert [one["id"] for one in report.find(report.Filter(State.CANCELLED), 1)] == ["n"]
