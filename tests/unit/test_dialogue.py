"""How a dialogue spends the time until a server that is far away answers."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from mailqueue import dialogue
from mailqueue.dialogue import Dialogue
from mailqueue.waiting import is_readable


class Server:
    """The other end, whose replies take as long as it says, by a clock of its own."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.mine = socket.create_connection(listener.getsockname())
            self.theirs, _ = listener.accept()
        self.now = 1000.0
        self.dialogue = Dialogue(self.mine, clock=lambda: self.now)

    def is_asked(self) -> None:
        self.dialogue.write(b"NOOP\r\n", timeout=5)

    def answers(self, after: float) -> None:
        self.is_asked()
        self.now += after
        self.theirs.sendall(b"250 Ok\r\n")
        assert self.dialogue.read(5).code == 250


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    with found.mine, found.theirs:
        yield found


@pytest.fixture
def dozes(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of each doze, none of which is slept."""
    found: list[float] = []

    def note(connected: socket.socket, within: float = 0) -> bool:
        found.append(within)
        return is_readable(connected)

    monkeypatch.setattr(dialogue, "is_readable", note)
    return found


@pytest.mark.parametrize(
    ("replies", "seconds"),
    [
        ([], []),  # nothing is known yet
        ([0.0002], []),
        ([0.0059], []),  # there is not enough time for it
        ([0.02], [0.017]),
        ([0.02, 0.1], [0.037]),  # slower: perhaps for once
        ([0.02, *[0.1] * 40], [0.097]),
        ([0.1, 0.02], [0.017]),  # quicker: from now on
        ([30.0], [1.0]),  # what can be done meanwhile isn't put off for ever
    ],
)
def test_a_doze_ends_shortly_before_the_reply_is_expected(replies, seconds, server, dozes):
    """Three milliseconds, since that was how long the replies before took."""
    for after in replies:
        server.answers(after)
    server.is_asked()
    dozes.clear()
    server.dialogue.doze()
    assert dozes == pytest.approx(seconds, abs=1e-6)


def test_a_doze_leaves_twice_the_time_that_is_needed_after_it(server, dozes):
    """Where there was too little, or much was done, the next one ends sooner."""
    server.answers(after=0.1)
    server.is_asked()
    server.theirs.sendall(b"250 Ok\r\n")
    is_readable(server.mine, within=5)
    server.now += 0.1
    server.dialogue.doze()
    assert server.dialogue.read_at_once(5).code == 250  # before anything could be done
    server.is_asked()
    server.dialogue.doze()
    server.now += 0.02  # what was to be done
    server.theirs.sendall(b"250 Ok\r\n")
    server.now += 0.08
    server.dialogue.read(5)
    server.is_asked()
    server.dialogue.doze()
    assert dozes == pytest.approx([0.097, 0.094], abs=1e-6)


def test_a_doze_ends_with_a_reply_that_comes_sooner(server, monkeypatch):
    """It would last for ten minutes."""
    monkeypatch.setattr(dialogue, "_LONGEST_DOZE", 600.0)
    server.answers(after=600)
    server.is_asked()
    server.theirs.sendall(b"250 Ok\r\n")
    server.dialogue.doze()
    assert server.dialogue.has_unread()
    assert server.dialogue.read(5).code == 250


def test_a_doze_ends_without_a_reply(server):
    """What has to be done until then is done, and the reply is waited for as ever."""
    server.answers(after=0.05)
    server.is_asked()
    server.dialogue.doze()
    assert not server.dialogue.has_unread()
