"""Queues beside each other, and urgent mail beside a list: each has its turn before long."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event

import pytest

from tests.line import Line, line, send, states
from tests.scripted import ScriptedServer, Session
from tests.support import wait_until

pytestmark = pytest.mark.usefixtures("producer")
BODY = "All of it. " * 400
# Messages of the list that may go before another one: within a second, of 80 ms each.
AT_MOST = 10
wire = line("turns", "PIPELINING", "8BITMIME", options=("-Q", "turns,aside"))


def slow(_session: Session, phase: str, _command: str) -> None:
    """A server that thinks for 80 ms about each message."""
    if phase == "dot":
        Event().wait(0.08)


@pytest.fixture
def server(wire: Line, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    """A slow server, in the middle of a list; all of that is delivered at the end."""
    found = wire.as_new(monkeypatch)
    found.script = slow
    before = states()["sent"]
    yield found
    found.script = lambda *_: None
    wait_until(lambda: set(states()) == {"sent"}, 60, wire.worker.explain)
    ids = [mail.message_id for mail in found.accepted]
    assert len({*ids}) == len(ids) == states()["sent"] - before


def ahead_of(server: ScriptedServer, subject: str) -> int:
    """Wait for that message; how many others went before it since it was sent."""
    before = len(server.accepted)
    mark = f"Subject: {subject}\r\n".encode()

    def found() -> list[int]:
        return [n for n, mail in enumerate(server.accepted) if mark in mail.content]

    wait_until(found, 60)
    return found()[0] - before


def begin_list(server: ScriptedServer, count: int = 200, **changes: object) -> None:
    """Send a list, and wait until a worker is in the middle of it."""
    send(count, body=BODY, **changes)
    wait_until(lambda: len(server.accepted) > 12, 30)


@pytest.mark.parametrize(
    ("of_list", "of_other"),
    [
        ({}, {"priority": "high"}),
        ({"priority": "low"}, {}),
        ({}, {"queue": "aside"}),
        ({"queue": "aside"}, {}),
    ],
    ids=str,
)
def test_a_message_has_its_turn_beside_a_list(of_list, of_other, server):
    """One that is more urgent, or of another queue, waits for a few of the list at most."""
    begin_list(server, **of_list)
    send(1, subject="Your code", body=BODY, **of_other)
    assert ahead_of(server, "Your code") <= AT_MOST


@pytest.mark.parametrize("changes", [{"priority": "high"}, {"queue": "aside"}], ids=str)
def test_a_second_list_has_its_turn_beside_a_list(changes, server):
    """One that is too long to join a task begins as soon; the first goes on, too."""
    begin_list(server)
    send(30, subject="Alarm", body=BODY, **changes)
    assert ahead_of(server, "Alarm") <= AT_MOST
