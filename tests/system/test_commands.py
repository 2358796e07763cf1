"""Promises of the command line that need no process of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from mailqueue import EmailMessage
from mailqueue.queue.journal import Journal, open_journal
from mailqueue.state import State
from tests.contracts.delivering import command, ended, invoked, letter, post
from tests.scripted import ScriptedServer

JSON = {
    "status": ["status"],
    "list": ["list"],
    "show": ["show", "failed"],
    "retry": ["retry", "failed"],
    "retry --all": ["retry", "--all"],
    "hold": ["hold", "waiting"],
    "resume": ["resume", "--all"],
    "cancel": ["cancel", "waiting"],
    "discard": ["discard", "failed"],
    "purge": ["purge", "--all", "--yes"],
    "health": ["health"],
    "check": ["check"],
    "spool flush": ["spool", "flush"],
}


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as found:
        yield found


@pytest.fixture
def journal(redis_url: str, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> Journal:
    """A journal with a message that waits and one that failed, and a worker that lives."""
    monkeypatch.setenv("MAILQUEUE_BROKER_URL", redis_url)
    monkeypatch.setenv("EMAIL_HOST", "127.0.0.1")
    monkeypatch.setenv("EMAIL_PORT", str(server.port))
    journal = open_journal()
    post(journal, letter(), "waiting")
    ended(journal, State.FAILED, "failed")
    journal.beat("here:1")
    return journal


@pytest.mark.parametrize("arguments", JSON.values(), ids=JSON)
def test_each_command_takes_json(arguments, journal):
    """Each command of the README prints with `--json` nothing but JSON."""
    assert isinstance(json.loads(command(*arguments, "--json")), dict | list)


def test_check_sends_nothing(journal, server):
    """`mailqueue check` opens the connection to the mail server and begins no message."""
    command("check")
    assert server.verbs() == ["EHLO", "QUIT"]
    assert journal.totals()["accepted"] == 2


def test_purge_takes_several_states(journal):
    """`--state` may be repeated, and the records of other states stay."""
    for state in (State.SENT, State.PARTIAL):
        ended(journal, state, state.value)
    command("purge", "--state", "sent", "--state", "failed", "--yes")
    left = {found.id for found in journal.read(["waiting", "failed", "sent", "partial"])}
    assert left == {"waiting", "partial"}


@pytest.fixture
def sent_by_key(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> EmailMessage:
    """A message with an idempotency key, which the journal has."""
    monkeypatch.setenv("EMAIL_BACKEND", "mailqueue.backends.queue.EmailBackend")
    message = letter()
    message.idempotency_key = "order 4711"
    message.send()
    return message


def test_the_key_of_a_cancelled_message_still_stands_for_it(sent_by_key, journal):
    """A message with the key of a cancelled message stands for it, and is not sent."""
    id_ = sent_by_key.mailqueue_id
    command("cancel", id_)
    sent_by_key.send()
    assert sent_by_key.mailqueue_id == id_
    assert journal.read([id_])[0].state is State.CANCELLED


def test_the_key_of_a_discarded_message_is_forgotten(sent_by_key, journal):
    """A message with the key of a discarded one is a new message."""
    id_ = sent_by_key.mailqueue_id
    command("hold", id_)
    command("discard", id_)
    sent_by_key.send()
    assert sent_by_key.mailqueue_id != id_
    assert journal.read([sent_by_key.mailqueue_id])[0].state is State.QUEUED


def test_one_of_two_ways_to_choose_is_a_must(journal):
    """A command without a choice, or with two, changes nothing and says which there are."""
    for arguments in (["hold"], ["hold", "waiting", "--all"], ["hold", "--all", "--domain", "x"]):
        done = invoked(*arguments)
        assert (done.exit_code, "give either ids" in done.output) == (2, True)
    assert journal.read(["waiting"])[0].state is State.QUEUED
