"""What goes over a connection in a message's turn, and what doesn't."""

from __future__ import annotations

import pytest

from mailqueue.backends.smtp import EmailBackend
from mailqueue.delivery.outcome import Verdict
from mailqueue.delivery.smtp.transport import SmtpTransport
from mailqueue.delivery.trouble import Misconfigured, StaleClaim
from tests.delivery.turn import Turn
from tests.scripted import ScriptedServer
from tests.support import wait_until

WAYS = [("PIPELINING",), ("PIPELINING", "CHUNKING"), ()]


def transport_to(server: ScriptedServer) -> SmtpTransport:
    return SmtpTransport(EmailBackend(host="127.0.0.1", port=server.port))


@pytest.mark.parametrize("features", WAYS)
def test_a_message_that_another_worker_has_is_not_ended(features):
    """The connection is closed before the end, so that the server keeps nothing of it."""
    with ScriptedServer(features=features) as server:
        with pytest.raises(StaleClaim):
            transport_to(server).deliver(Turn("ann@example.com", is_stale=True))
        wait_until(server.has_been_left, 30)
    assert server.accepted == []


@pytest.mark.parametrize("features", WAYS)
def test_dots_arrive_as_they_were_written(features):
    """A line that is one dot ends no message, and none gets or loses one (RFC 5321, 4.5.2)."""
    body = ".\n..\n.hidden\nlast."
    with ScriptedServer(features=features) as server:
        transport = transport_to(server)
        transport.deliver(Turn("ann@example.com", body=body))
        transport.close()
    (mail,) = server.accepted
    assert mail.content.endswith(b"\r\n\r\n.\r\n..\r\n.hidden\r\nlast.\r\n")


@pytest.mark.parametrize(("features", "is_ascii"), [((), True), (("8BITMIME",), False)])
def test_a_content_is_in_eight_bits_where_the_server_takes_that(features, is_ascii):
    """For any other server it is encoded."""
    with ScriptedServer(features=features) as server:
        transport = transport_to(server)
        transport.deliver(Turn("ann@example.com", body="Grüße"))
        transport.close()
    assert server.accepted[0].content.isascii() == is_ascii


@pytest.mark.parametrize(
    ("features", "verdict"), [((), Verdict.REFUSED), (("SMTPUTF8", "8BITMIME"), Verdict.ACCEPTED)]
)
def test_an_address_outside_ascii_needs_a_server_for_it(features, verdict):
    """A server that doesn't offer SMTPUTF8 is not even asked."""
    with ScriptedServer(features=features) as server:
        transport = transport_to(server)
        outcome = transport.deliver(Turn("grüße@example.com"))
        transport.close()
    assert [answer.verdict for answer in outcome.answers.values()] == [verdict]
    assert ("MAIL" in server.verbs()) == (verdict is Verdict.ACCEPTED)


@pytest.mark.parametrize("features", WAYS)
def test_a_mailbox_that_is_spelled_twice_has_two_answers(features):
    """It gets one copy, and each spelling what became of that."""
    spellings = ["Ann <ann@example.com>", "ann@example.com"]
    with ScriptedServer(features=features) as server:
        transport = transport_to(server)
        outcome = transport.deliver(Turn(*spellings))
        transport.close()
    assert sorted(outcome.answers) == sorted(spellings)
    assert server.verbs().count("RCPT") == 1


@pytest.mark.parametrize("phase", ["MAIL", "RCPT"])
def test_a_login_that_is_wanted_for_mail_is_our_own_mistake(phase):
    """A login wanted at one RCPT, for a stranger to the server, is that recipient's refusal."""

    def wants(_session: object, now: str, _command: str) -> str | None:
        return "530 log in first" if now == phase else None

    with ScriptedServer(wants) as server:
        transport = transport_to(server)
        if phase == "MAIL":
            with pytest.raises(Misconfigured):
                transport.deliver(Turn("ann@example.com"))
        else:
            outcome = transport.deliver(Turn("ann@example.com"))
            assert outcome.answers["ann@example.com"].verdict is Verdict.REFUSED
        transport.drop()


@pytest.mark.parametrize(
    ("features", "room", "begun"),
    [(("PIPELINING",), 2, True), (("PIPELINING",), 1, False), ((), 2, False)],
)
def test_the_next_envelope_goes_along_where_it_may(features, room, begun):
    """A server that takes nothing in advance gets none, nor a connection that is to be closed."""
    with ScriptedServer(features=features) as server:
        transport = transport_to(server)
        second = Turn("bob@example.com")
        transport.deliver(Turn("ann@example.com", following=second), room=room)
        wait_until(lambda: server.verbs().count("MAIL") == 1 + begun, 30)
        transport.close()
        wait_until(server.has_been_left, 30)
    # The server waits for a content by then: QUIT would be the first line of it.
    assert ("QUIT" in server.verbs()) != begun
    assert [mail.recipients for mail in server.accepted] == [["ann@example.com"]]
