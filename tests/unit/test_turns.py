"""One message after the other over a connection: which of them gets what."""

from __future__ import annotations

import pytest

from mailqueue.backends.smtp import EmailBackend
from mailqueue.connection import Connection, Limits
from mailqueue.outcome import ServerTrouble, Verdict
from mailqueue.smtp import SmtpTransport
from tests.scripted import ScriptedServer
from tests.unit.turn import Turn

LIMITS = Limits(max_messages=100, max_age=600, idle=600)


def transport_to(server: ScriptedServer) -> SmtpTransport:
    return SmtpTransport(EmailBackend(host="127.0.0.1", port=server.port))


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
        connection = Connection(lambda: transport_to(server), LIMITS)
        outcome = connection.deliver(Turn("first@example.com"))
        connection.close()
    assert outcome.answers["first@example.com"].verdict is Verdict.ACCEPTED
    assert (server.sessions, len(server.accepted), connection.pause) == (2, 1, 0)
