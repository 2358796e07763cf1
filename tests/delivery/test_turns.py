"""One message after the other over a connection: which of them gets what."""

from __future__ import annotations

import pytest

from mailqueue.backends.smtp import EmailBackend
from mailqueue.delivery.connection import Connection, Limits
from mailqueue.delivery.outcome import Verdict
from mailqueue.delivery.smtp.transport import SmtpTransport
from mailqueue.delivery.trouble import ServerTrouble
from tests.delivery.turn import Turn
from tests.scripted import CLOSE, ScriptedServer, Session

WAYS = [("PIPELINING",), ("PIPELINING", "CHUNKING"), ()]
LIMITS = Limits(max_messages=100, max_age=600, idle=600)


def transport_to(server: ScriptedServer, in_flight: int = 1) -> SmtpTransport:
    backend = EmailBackend(host="127.0.0.1", port=server.port)
    return SmtpTransport(backend, in_flight=in_flight)


def only_at(phase: str, reply: bytes | str):
    """A script that gives one reply."""
    return lambda _session, now, _command: reply if now == phase else None


@pytest.mark.parametrize("features", WAYS)
@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("250 kept", Verdict.ACCEPTED),
        ("451 not now", Verdict.DEFERRED),
        ("554 never", Verdict.REFUSED),
        (CLOSE, Verdict.IN_DOUBT),
        ("354 go on", Verdict.IN_DOUBT),  # no reply to that
    ],
)
def test_the_reply_to_the_end_decides(features, reply, verdict):
    """Without one that can be one the message is in doubt: it may have arrived."""
    with ScriptedServer(only_at("dot", reply), features) as server:
        transport = transport_to(server)
        outcome = transport.deliver(Turn("ann@example.com"))
        transport.drop()
    assert outcome.answers["ann@example.com"].verdict is verdict


@pytest.mark.parametrize("features", WAYS)
@pytest.mark.parametrize("phase", ["MAIL", "RCPT", "dot"])
def test_a_421_is_about_the_server(features, phase):
    """Whatever the command was, the message was surely not accepted, and is not to blame."""
    with ScriptedServer(only_at(phase, "421 closing"), features) as server:
        transport = transport_to(server)
        with pytest.raises(ServerTrouble, match="421 closing"):
            transport.deliver(Turn("ann@example.com"))
        transport.drop()
    assert server.accepted == []


@pytest.mark.parametrize("features", WAYS)
@pytest.mark.parametrize("code", [452, 552])
def test_those_beyond_the_servers_limit_are_left(features, code):
    """Older servers say 552 where newer ones say 452 (RFC 5321, 4.5.3.1.10)."""

    def full(_session: object, phase: str, command: str) -> str | None:
        return f"{code} too many" if phase == "RCPT" and "bob" in command else None

    with ScriptedServer(full, features) as server:
        transport = transport_to(server)
        outcome = transport.deliver(Turn("ann@example.com", "bob@example.com"))
        transport.close()
    verdicts = {address: answer.verdict for address, answer in outcome.answers.items()}
    assert verdicts == {"ann@example.com": Verdict.ACCEPTED, "bob@example.com": Verdict.LEFT}


@pytest.mark.parametrize("features", WAYS)
def test_nothing_is_sent_to_nobody(features):
    """Where each recipient was refused, the connection can take the next message."""
    with ScriptedServer(only_at("RCPT", "550 unknown"), features) as server:
        transport = transport_to(server)
        outcome = transport.deliver(Turn("ann@example.com"))
        server.script = lambda *_: None
        transport.deliver(Turn("bob@example.com"))
        transport.close()
    assert outcome.answers["ann@example.com"].verdict is Verdict.REFUSED
    assert [mail.recipients for mail in server.accepted] == [["bob@example.com"]]


@pytest.mark.parametrize("features", WAYS)
def test_commands_go_ahead_only_where_the_server_offers_that(features):
    """One that doesn't take them in advance has nothing to read when it answers the first."""
    early = []

    def look(session: Session, phase: str, _command: str) -> None:
        early.append(phase == "MAIL" and session.has_more())

    with ScriptedServer(look, features) as server:
        transport = transport_to(server)
        transport.deliver(Turn("ann@example.com"))
        transport.close()
    assert any(early) == ("PIPELINING" in features)


def test_no_content_goes_with_another_messages_envelope():
    """A message whose turn doesn't come, though its envelope went ahead, leaves it to nobody."""
    with ScriptedServer(features=("PIPELINING",)) as server:
        transport = transport_to(server)
        transport.deliver(Turn("first@example.com", following=Turn("second@example.com")), room=2)
        with pytest.raises(ServerTrouble, match="another message"):
            transport.deliver(Turn("third@example.com"))
        transport.drop()
    assert [mail.recipients for mail in server.accepted] == [["first@example.com"]]


def test_a_server_that_refuses_bdat_gets_data_at_once():
    """It has offered it, and is in no trouble: the same message goes over another connection."""
    features = ("PIPELINING", "CHUNKING")
    refusing = lambda _session, phase, _command: "502 no" if phase == "BDAT" else None  # noqa: E731
    with ScriptedServer(refusing, features) as server:
        connection = Connection(lambda: transport_to(server, in_flight=2), LIMITS)
        outcome = connection.deliver(Turn("first@example.com"))
        connection.close()
    assert outcome.answers["first@example.com"].verdict is Verdict.ACCEPTED
    assert (server.sessions, len(server.accepted), connection.pause) == (2, 1, 0)
