"""Connections to a mail server that die without a word, by packets that are dropped."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from mailqueue import EmailMessage
from mailqueue.backends import reach
from mailqueue.backends.smtp import EmailBackend
from mailqueue.delivery.outcome import Verdict
from mailqueue.delivery.trouble import ServerTrouble
from tests.delivery.test_turns import WAYS, transport_to
from tests.delivery.turn import Turn
from tests.namespace import NEEDS_NAMESPACE, drop, forget, let_through, own_network
from tests.scripted import ScriptedServer, Session

pytestmark = NEEDS_NAMESPACE
SHORT = 0.3  # seconds


@pytest.fixture(autouse=True)
def network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A network of its own, and little patience; Linux asks an idle host once a second at most."""
    monkeypatch.setattr(reach, "TO_CONNECT", SHORT)
    monkeypatch.setattr(reach, "LOST_AFTER", SHORT)
    monkeypatch.setattr(reach, "_BETWEEN_QUESTIONS", 1.0)
    with own_network():
        yield


def test_a_server_that_cannot_be_reached_is_given_up_soon():
    """Whatever time it has for its greeting."""
    with ScriptedServer() as server:
        drop(server.port)
        with pytest.raises(ServerTrouble, match="timed out"):
            transport_to(server)


@pytest.mark.parametrize("features", [("PIPELINING",), ()])
def test_a_forgotten_connection_is_given_up_soon(features):
    """With nothing in doubt, since the message's end wasn't sent."""
    with ScriptedServer(features=features) as server:
        transport = transport_to(server)
        transport.deliver(Turn("ann@example.com"))
        forget(server.port)
        with pytest.raises(ServerTrouble, match="connection lost"):
            transport.deliver(Turn("bob@example.com"))
        transport.drop()


def test_a_connection_that_is_forgotten_amid_a_reply_is_given_up_soon():
    """Also where nothing was written that the server's host hasn't acknowledged."""

    def vanish(_session: Session, phase: str, _command: str) -> None:
        if phase == "RCPT":
            drop(server.port)

    with ScriptedServer(vanish) as server:
        transport = transport_to(server)
        with pytest.raises(ServerTrouble, match="connection lost"):
            transport.deliver(Turn("ann@example.com"))
        transport.drop()


def test_a_slow_server_is_waited_for():
    """Its host acknowledges what is written, and says that it is there."""

    def dawdle(_session: Session, phase: str, _command: str) -> None:
        if phase == "MAIL":
            threading.Event().wait(SHORT * 5)

    with ScriptedServer(dawdle) as server:
        transport = transport_to(server)
        outcome = transport.deliver(Turn("ann@example.com"))
        transport.close()
    assert outcome.answers["ann@example.com"].verdict is Verdict.ACCEPTED


class Cut(Turn):
    """A message at whose commit the network goes away for a while."""

    port = 0

    def commit(self, *arguments, **options):
        drop(self.port)
        back = threading.Timer(SHORT * 4, let_through, [self.port])
        back.start()
        return super().commit(*arguments, **options)


@pytest.mark.parametrize("features", WAYS)
def test_after_the_end_the_reply_is_awaited_over_a_network_that_goes_away(features):
    """Giving up would leave the message in doubt, whose reply still comes."""
    with ScriptedServer(features=features) as server:
        transport = transport_to(server, in_flight=10)
        transport.deliver(Turn("ann@example.com"))
        turn = Cut("bob@example.com")
        turn.port = server.port
        outcome = transport.deliver(turn)
        assert outcome.answers["bob@example.com"].verdict is Verdict.ACCEPTED
        transport.close()


@pytest.mark.parametrize("features", WAYS)
def test_after_a_reply_a_loss_is_noticed_again(features):
    """The wait for the end of one message is not that for the beginning of the next."""
    with ScriptedServer(features=features) as server:
        transport = transport_to(server, in_flight=10)
        transport.deliver(Turn("ann@example.com"))
        forget(server.port)
        with pytest.raises(ServerTrouble, match="connection lost"):
            transport.deliver(Turn("bob@example.com", body="x" * 300_000))  # not in one go
        transport.drop()


def test_a_server_that_reads_nothing_for_a_while_is_waited_for():
    """Its host says so, but a system that waits for no host longer would take it for lost."""
    to = "ann@example.com"
    body = "All of it. \n" * 500_000

    def pause(_session: Session, phase: str, _command: str) -> None:
        if phase == "body":
            threading.Event().wait(SHORT * 5)

    with ScriptedServer(pause) as server:
        server.narrow()
        transport = transport_to(server)
        outcome = transport.deliver(Turn(to, body=body))
        transport.close()
        assert outcome.answers[to].verdict is Verdict.ACCEPTED
        # So it is for a program that sends without a worker.
        message = EmailMessage("Hello", body, "me@example.com", [to])
        assert EmailBackend("127.0.0.1", server.port).send_messages([message]) == 1
