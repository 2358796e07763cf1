"""An exception from outside in the middle of a command to an SMTP server."""

from __future__ import annotations

import os
import signal
from types import FrameType

import pytest

from mailqueue import EmailMessage
from mailqueue.backends.smtp import EmailBackend
from tests.interruption import Outside
from tests.scripted import ScriptedServer, Session


def letter(to: str) -> EmailMessage:
    return EmailMessage("Hello", "A letter", "from@example.com", [to])


def raise_outside(_number: int, _frame: FrameType | None) -> None:
    raise Outside


@pytest.mark.parametrize("when", ["MAIL", "RCPT", "DATA", "dot"])
def test_a_reply_is_not_taken_for_that_to_another_command(when: str) -> None:
    """A backend that is open goes on over a new connection, after an interrupt at any command."""
    struck: list[str] = []

    def strike(_session: Session, phase: str, _command: str) -> None:
        if phase == when and not struck:
            struck.append(phase)
            os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, raise_outside)
    try:
        with ScriptedServer(strike) as server:
            backend = EmailBackend("127.0.0.1", server.port, timeout=30)
            backend.open()
            with pytest.raises(Outside):
                backend.send_messages([letter("first@example.com")])
            backend.open()
            assert backend.send_messages([letter("second@example.com")]) == 1
            backend.close()
        assert server.accepted[-1].recipients == ["second@example.com"]
        assert server.sessions == 2
    finally:
        signal.signal(signal.SIGUSR1, before)
