"""Commands of an operator's for many messages, more than one call of the journal takes."""

from __future__ import annotations

import pytest

from mailqueue.queue.journal import Journal, open_journal
from mailqueue.state import State
from tests.contracts.delivering import (
    command,
    connected,
    deliver,
    ended,
    letter,
    post,
    record,
    results,
)
from tests.contracts.journals import accepted
from tests.scripted import ScriptedServer, Session

MANY = 2001  # more than the journal changes in four calls


@pytest.fixture
def journal(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Journal:
    monkeypatch.setenv("MAILQUEUE_BROKER_URL", redis_url)
    return open_journal()


STATES = {  # from which a command takes a message
    "hold": State.QUEUED,
    "resume": State.HELD,
    "cancel": State.QUEUED,
    "discard": State.FAILED,
    "retry": State.FAILED,
}


@pytest.mark.parametrize("name", STATES)
def test_a_command_for_many_holds_up_nobody_for_long(name, journal):
    """A command for many messages is several calls, between which the journal serves others."""
    ids = [f"m{n}" for n in range(MANY)]
    state = STATES[name]
    ended(journal, state, *ids) if state is State.FAILED else accepted(journal, *ids)
    if state is State.HELD:
        journal.hold(ids)
    before = calls(journal)
    assert len(getattr(journal, name)(ids)) == MANY
    assert calls(journal) - before >= 5
    assert journal.counts()[state] == 0


def calls(journal: Journal) -> int:
    """How many calls of scripts the server has served."""
    found: int = journal._client.info("commandstats")["cmdstat_evalsha"]["calls"]
    return found


def test_discard_all_takes_all_however_many(journal):
    """`discard --all` leaves no failed, partial or expired message, nor its content."""
    ended(journal, State.FAILED, *(f"m{n}" for n in range(MANY)))
    ended(journal, State.PARTIAL, "p")
    ended(journal, State.EXPIRED, "e")
    ended(journal, State.SENT, "s")
    assert f"{MANY + 2} discarded" in command("discard", "--all", "--yes")
    assert {state for state, count in journal.counts().items() if count} == {State.SENT}
    assert not list(journal._client.scan_iter("*:message:m*"))
    assert journal.totals()["discarded"] == MANY + 2


def test_retry_all_takes_all_however_many(journal):
    """`retry --all` queues all failed and partial messages again, and no expired one."""
    ended(journal, State.FAILED, *(f"m{n}" for n in range(MANY)))
    ended(journal, State.PARTIAL, "p")
    ended(journal, State.EXPIRED, "e")
    assert f"{MANY + 1} queued again" in command("retry", "--all")
    counts = {state: count for state, count in journal.counts().items() if count}
    assert counts == {State.QUEUED: MANY + 1, State.EXPIRED: 1}


def test_retry_all_sends_to_nobody_a_second_time(journal):
    """`retry --all` sends a partial message to those who were refused, and to nobody else."""

    def refuses(session: Session, phase: str, command: str) -> str | None:
        return "550 no such user" if phase == "RCPT" and "<gone@" in command else None

    post(journal, letter("to@example.com", "gone@example.com"))
    with ScriptedServer(refuses) as server, connected(server) as connection:
        assert deliver(journal, connection) == {"partial": 1}
        server.script = lambda *_: None
        assert "1 queued again" in command("retry", "--all")
        assert deliver(journal, connection) == {"sent": 1}
        assert [mail.recipients for mail in server.accepted] == [
            ["to@example.com"],
            ["gone@example.com"],
        ]
    assert {state for state, _ in results(journal).values()} == {"sent"}


def test_hold_all_takes_the_messages_that_are_there(journal):
    """A message that is accepted after `hold --all` is sent."""
    post(journal, letter(), "before")
    assert "1 held" in command("hold", "--all")
    post(journal, letter(), "after")
    with ScriptedServer() as server, connected(server) as connection:
        assert deliver(journal, connection, ["before", "after"]) == {"sent": 1}
    assert record(journal, "before").state is State.HELD
