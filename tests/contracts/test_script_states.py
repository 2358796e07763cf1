"""The states in the journal's script are those of `State`, and mean the same."""

from __future__ import annotations

import re

import pytest

from mailqueue.errors import JournalUnavailable
from mailqueue.monitor import control
from mailqueue.queue.journal.script import FILES, read
from mailqueue.state import WAITING, State

# What else is data in the script: fields of a record, names of keys, priorities, an answer.
FIELDS = """
    attempts blobs counted created digest doubted due expires faulted faults held_due held_from
    left_token log lost payload priority reply results since state summary token tries_from updated
"""
KEYS = """
    accepted alarms beats blob claimed clock discarded fence has joined message names offset same
    seen task ticked totals until workers
"""
NO_STATES = {*FIELDS.split(), *KEYS.split(), "high", "low", "normal", "missing"}


def words(name: str) -> set[str]:
    """The words of a file that are data: quoted, alone or in a key, or names in a table."""
    code = re.sub(r"--.*|if operation == .*", "", read(name))
    quoted = re.findall(r"'(:?[a-z_]+(?::[a-z_]+)*:?)'", code)
    tables = re.findall(r"\{[^{}]*\}", code)
    named = [word for table in tables for word in re.findall(r"(\w+) = (?:true|0)\b", table)]
    return {word for text in (*quoted, *named) for word in text.split(":") if word}


def test_every_state_in_the_script_is_a_state() -> None:
    """Each word in it is a state, or is known as something else; and each state occurs."""
    found = {word for name in FILES for word in words(name)}
    assert found == {*State, *NO_STATES}


@pytest.mark.parametrize("state", State)
def test_the_script_knows_what_is_final_and_what_waits(client, state):
    """It says the same of every state as Python does."""
    text = (
        read("states") + "return { is_final(ARGV[1]) and 1 or 0, is_waiting(ARGV[1]) and 1 or 0 }"
    )
    assert client.eval(text, 0, state) == [state.final, state in WAITING]


def changed_by(journal, client, command: str) -> set[State]:
    """The states of which the command changes a message."""
    prefix = "mailqueue:{q}"
    for state in State:
        fields = {"state": state, "payload": "{}", "created": 1, "summary": "{}"}
        client.hset(f"{prefix}:message:{state}", mapping=fields)
        client.zadd(f"{prefix}:state:{state}", {state: 1})
    found = getattr(journal, command)(list(State))
    if command == "retry":
        return {State(id_) for id_ in found}
    return {State(one.id) for one in found if one.changed}


@pytest.mark.parametrize(
    ("command", "action", "by_id_only"),
    [
        ("hold", control.HOLD, set()),
        ("resume", control.RESUME, set()),
        ("cancel", control.CANCEL, set()),
        ("discard", control.DISCARD, {State.HELD, State.UNCERTAIN}),
    ],
)
def test_a_command_for_all_names_the_states_that_it_changes(
    journal, client, command, action, by_id_only
):
    """What is told to take all takes what the script allows, but for what goes by id only."""
    assert changed_by(journal, client, command) == {*action.states, *by_id_only}


def test_each_state_that_is_not_retried_has_its_reason(journal, client):
    """What the script doesn't queue again is what operators are told why of, and no more."""
    retried = changed_by(journal, client, "retry")
    assert retried == set(State) - control._WHY_NOT_RETRIED.keys()


def test_an_unknown_operation_is_refused(journal):
    """A name that no file has returns an error that says it."""
    with pytest.raises(JournalUnavailable, match="unknown journal operation nonsense"):
        journal._call("nonsense", [])
