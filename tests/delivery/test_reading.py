"""How long a dialogue waits for a reply."""

from __future__ import annotations

import socket

import pytest

from mailqueue.delivery.smtp.dialogue import Dialogue


def test_a_reply_that_is_waited_for_no_longer_is_a_timeout() -> None:
    """Also where no time is left at all."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        mine = socket.create_connection(listener.getsockname())
        with mine, listener.accept()[0], pytest.raises(TimeoutError):
            Dialogue(mine).read(0)
