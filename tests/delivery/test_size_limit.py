"""What a server says of the size that it takes at most (RFC 1870)."""

from __future__ import annotations

import pytest

from mailqueue.backends.smtp import EmailBackend
from mailqueue.delivery.outcome import Verdict
from mailqueue.delivery.smtp.transport import SmtpTransport
from tests.delivery.turn import Turn
from tests.scripted import ScriptedServer


@pytest.mark.parametrize(
    ("feature", "verdict"),
    [
        ("SIZE", Verdict.ACCEPTED),  # it has a limit, and doesn't say which
        ("SIZE 0", Verdict.ACCEPTED),  # it has none
        ("SIZE 100000", Verdict.ACCEPTED),
        ("SIZE 10", Verdict.REFUSED),
    ],
)
def test_a_message_is_as_large_as_the_server_allows(feature, verdict):
    """Only what a server is known to refuse is not sent to it."""
    with ScriptedServer(features=(feature,)) as server:
        transport = SmtpTransport(EmailBackend(host="127.0.0.1", port=server.port))
        outcome = transport.deliver(Turn("bob@example.com"))
        transport.close()
    assert outcome.answers["bob@example.com"].verdict is verdict
    assert len(server.accepted) == (verdict is Verdict.ACCEPTED)
