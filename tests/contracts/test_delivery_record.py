"""What goes on record of a delivery and when, and what the log says of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from mailqueue.delivery.batch import Item
from mailqueue.delivery.connection import Connection
from mailqueue.errors import JournalUnavailable
from mailqueue.queue.journal import Journal, open_journal
from mailqueue.queue.spool import current_spool
from mailqueue.state import State
from mailqueue.store.client import connect
from mailqueue.tasks import _delivery
from tests.contracts.delivering import connected, deliver, letter, post, record
from tests.proxy import Proxy
from tests.scripted import CLOSE, ScriptedServer, Session
from tests.servers import Valkey


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


def at_the_dot(reply: bytes | str):
    """A script that so answers each dot."""

    def script(session: Session, phase: str, command: str) -> bytes | str | None:
        return reply if phase == "dot" else None

    return script


def seconds_left(journal: Journal) -> float | None:
    """How long, when it entered its state, nobody was to look at the message."""
    found = record(journal)
    return found.due and (found.due - found.updated).total_seconds()


def test_a_result_waits_five_minutes_for_the_journal_and_then_on_the_disk(
    journal, server, connection, valkey: Valkey
):
    """A worker that can't record a result tries for five minutes, begins nothing, and spools it."""
    waited: list[float] = []
    with Proxy(valkey.port) as proxy:
        through = Journal(connect(f"redis://127.0.0.1:{proxy.port}/0", 10.0), journal.queue)

        def leaves(session: Session, phase: str, command: str) -> None:
            if phase == "dot":
                proxy.__exit__()  # refuses connections from now on

        server.script = leaves
        for id_ in ("m", "n"):
            post(journal, letter(), id_)
        with pytest.raises(JournalUnavailable):
            deliver(through, connection, ["m", "n"], pause=waited.append)
    assert sum(waited) == 300
    assert server.verbs().count("MAIL") == 1
    assert record(journal).state is State.COMMITTING
    assert current_spool().waiting().results == 1
    assert current_spool().replay().recorded == 1
    assert record(journal).state is State.SENT


def test_a_claim_lasts_a_minute_and_a_commit_eleven(journal):
    """A message whose worker vanishes waits for LEASE, and after the commit for 11 minutes."""
    post(journal, letter())
    (claim,), _ = journal.claim([("m", "")])
    assert seconds_left(journal) == 60
    assert journal.commit(claim)
    assert seconds_left(journal) == 660


@pytest.mark.parametrize(("in_doubt", "seconds"), [("retry", 3600), ("hold", None)])
def test_a_message_in_doubt_waits_as_the_settings_say(
    in_doubt, seconds, redis_url, monkeypatch, server, connection
):
    """A message in doubt waits an hour, or, with IN_DOUBT = "hold", for a person."""
    monkeypatch.setenv("MAILQUEUE_BROKER_URL", redis_url)
    monkeypatch.setenv("MAILQUEUE_IN_DOUBT", in_doubt)
    server.script = at_the_dot(CLOSE)
    journal = open_journal()
    post(journal, letter())
    assert _delivery(journal, connection).run([Item("m")]) == {"uncertain": 1}
    assert seconds_left(journal) == seconds


def test_a_refusal_for_now_is_tried_again_by_the_schedule(journal, server, connection):
    """By default a message waits a minute after its first attempt, five after its second."""
    server.script = at_the_dot("451 later")
    post(journal, letter())
    for usual in (60, 300):
        assert _delivery(journal, connection).run([Item("m")]) == {"retrying": 1}
        assert seconds_left(journal) == pytest.approx(usual, rel=0.101)
        journal._client.hset("mailqueue:{mailqueue}:message:m", "due", 0)


def test_no_attempt_is_planned_beyond_the_age_limit(journal, server, connection, monkeypatch):
    """A message that is older than MAX_AGE, or would be at its next attempt, has failed."""
    monkeypatch.setenv("MAILQUEUE_MAX_AGE", "30s")
    server.script = at_the_dot("451 later")
    post(journal, letter())
    assert _delivery(journal, connection).run([Item("m")]) == {"failed": 1}
    assert record(journal).reply == "451 later"


@pytest.mark.parametrize(("level", "lines"), [("INFO", 1), ("WARNING", 0)])
def test_each_attempt_is_a_line_of_the_log(level, lines, journal, server, connection, caplog):
    """An attempt is one line at the level INFO, which has the reply and nothing of the content."""
    server.script = at_the_dot("554 5.7.1 not wanted")
    post(journal, letter(body="Strictly confidential"))
    with caplog.at_level(getattr(logging, level), "mailqueue"):
        assert deliver(journal, connection) == {"failed": 1}
    line = "message m: failed after attempt 1: 554 5.7.1 not wanted"
    assert [found.getMessage() for found in caplog.records] == [line] * lines
    assert "confidential" not in caplog.text
