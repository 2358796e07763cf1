"""A journal that fails as it is told, in the midst of what a test is about."""

from __future__ import annotations

import select
import socket
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress

import pytest

from mailqueue.monitor import report
from mailqueue.queue.journal import open_journal
from tests.servers import Valkey

ACCEPT = b"\r\naccept\r\n"  # the operation, as one argument of a call of the script

FINE = "fine"
ANSWER_LOST = "the answer gets lost"
REQUEST_LOST = "the request gets lost"
REFUSED = "the journal refuses"
_LOST = {ANSWER_LOST, REQUEST_LOST}


class Unsteady:
    """Forwards connections to a journal, and has each ``accept`` end as ``ends`` say, in order.

    When they are used up, all is fine. A request is taken to arrive as one piece.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._ends: list[str] = []
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"

    def plan(self, ends: Iterable[str]) -> None:
        """Have the next accepts end so; what is lost gets lost at its second try, too."""
        self._ends = [end for end in ends for _ in range(2 if end in _LOST else 1)]

    def __enter__(self) -> Unsteady:
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for opened in [self._listener, *self._sockets]:
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
            opened.close()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [client, server]
                threading.Thread(target=self._forward, args=[client, server], daemon=True).start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError, ValueError), client, server:
            end = FINE
            while True:
                readable, _, _ = select.select([client, server], [], [])
                if client in readable:
                    data = client.recv(1 << 20)
                    if ACCEPT in data:
                        end = self._ends.pop(0) if self._ends else FINE
                    if not data or end == REQUEST_LOST:
                        return
                    if end == REFUSED:
                        client.sendall(b"-MISCONF the disk is full\r\n")
                        end = FINE
                    else:
                        server.sendall(data)
                if server in readable:
                    data = server.recv(1 << 20)
                    if not data or end == ANSWER_LOST:
                        return
                    client.sendall(data)


@pytest.fixture
def journal(valkey: Valkey, producer: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Unsteady]:
    """A journal that fails as it is told, and that this process knows already."""
    port = int(valkey.url.rpartition(":")[2].partition("/")[0])
    with Unsteady(port) as unsteady:
        monkeypatch.setenv("MAILQUEUE_JOURNAL_URL", unsteady.url)
        script = open_journal()._script
        # Else the first answer that gets lost would be that the server doesn't know it.
        script.client.script_load(script.text)
        yield unsteady


def accepted() -> Counter[str]:
    """The recipients of the messages that the journal has, as often as each has one."""
    return Counter(a for one in report.records(report.Filter()) for a in one.recipients)
