"""How a dialogue spends the time until a server that is far away answers."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import trustme

from mailqueue.delivery.smtp import dialogue
from mailqueue.delivery.smtp.dialogue import Dialogue
from mailqueue.store.spin import Expectation, is_readable

FAR = 0.05  # seconds


class Server:
    """The other end; replies take as long as it says, by the clock of the expectation only."""

    def __init__(self, authority: trustme.CA | None = None) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.mine = socket.create_connection(listener.getsockname())
            self.theirs, _ = listener.accept()
        if authority is not None:
            self.encrypt(authority)
        self.now = 1000.0
        self.dialogue = Dialogue(self.mine, Expectation(clock=lambda: self.now))

    def encrypt(self, authority: trustme.CA) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        context.num_tickets = 0  # which a client has to read some time after the handshake
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
        with ThreadPoolExecutor() as threads:
            theirs = threads.submit(context.wrap_socket, self.theirs, server_side=True)
            self.mine = trusting.wrap_socket(self.mine, server_hostname="127.0.0.1")
            self.theirs = theirs.result(60)

    def is_asked(self) -> None:
        self.dialogue.write(b"NOOP\r\n", timeout=5)

    def answers(self, after: float) -> None:
        self.now += after
        self.theirs.sendall(b"250 Ok\r\n")
        assert is_readable(self.mine, within=5)

    def is_known_to_answer(self, after: float) -> None:
        self.is_asked()
        self.answers(after)
        assert self.dialogue.read(5).code == 250


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(params=["plain", "TLS"])
def server(request: pytest.FixtureRequest, authority: trustme.CA) -> Iterator[Server]:
    found = Server(authority if request.param == "TLS" else None)
    with found.mine, found.theirs:
        yield found


def so_long(seconds: float) -> object:
    """That, or a millisecond less: it is rounded down."""
    return pytest.approx(seconds - 0.0005, abs=0.00051)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, bool]]:
    """For how many seconds it looked for a reply, and whether one was there then."""
    found: list[tuple[float, bool]] = []

    def note(connected: socket.socket, within: float = 0) -> bool:
        found.append((within, is_readable(connected, within)))
        return found[-1][1]

    monkeypatch.setattr(dialogue, "is_readable", note)
    return found


def test_a_doze_ends_without_a_reply(server, looks):
    """What has to be done until then is done, and the reply is waited for as ever."""
    server.is_known_to_answer(FAR)
    server.is_asked()
    server.dialogue.doze()
    assert looks == [(so_long(FAR - 0.003), False)]
    server.answers(FAR)
    assert server.dialogue.read(5).code == 250


def test_a_doze_ends_with_a_reply_that_comes_sooner(server, looks, monkeypatch):
    """It would last for ten minutes."""
    monkeypatch.setattr("mailqueue.store.spin._LONGEST", 600.0)
    server.is_known_to_answer(700)
    server.is_asked()
    server.answers(FAR)
    server.dialogue.doze()
    assert looks == [(600, True)]
    assert server.dialogue.read(5).code == 250


def test_nobody_dozes_where_the_server_is_near(server, looks):
    """Its reply is looked for at once."""
    server.is_known_to_answer(0.0002)
    server.is_asked()
    server.dialogue.doze()
    assert looks == []


def test_a_reply_that_is_there_before_anything_is_done_makes_the_next_doze_shorter(server, looks):
    """And that one the one after it."""
    server.is_known_to_answer(FAR)
    server.dialogue._wakefulness._passes = 3  # waits in which it wouldn't stay awake
    for early in (0.003, 0.006, 0.012):
        looks.clear()
        server.is_asked()
        server.dialogue.doze()
        server.answers(FAR)
        assert server.dialogue.read_at_once(5).code == 250
        assert looks[0][0] == so_long(FAR - early)


def test_what_is_to_be_done_after_a_doze_makes_the_next_one_shorter(server, looks):
    """Here it takes so long that there is no time for one."""
    server.is_known_to_answer(FAR)
    server.is_asked()
    server.dialogue.doze()
    server.answers(FAR)  # which is how long it takes, by the clock
    assert server.dialogue.read(5).code == 250
    server.is_asked()
    looks.clear()
    server.dialogue.doze()
    assert looks == []


def test_two_replies_to_one_write_are_no_news_of_the_second(server, looks):
    """Only the first says how long the server takes."""
    server.is_known_to_answer(FAR)
    server.answers(40 * FAR)
    assert server.dialogue.read(5).code == 250
    server.is_asked()
    server.dialogue.doze()
    assert looks == [(so_long(FAR - 0.003), False)]
