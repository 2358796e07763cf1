"""A journal that fails as it is told, in the midst of what a test is about."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterable, Iterator

import pytest

from mailqueue.monitor import report
from mailqueue.queue.journal import open_journal
from tests.proxy import Link, Proxy
from tests.servers import Valkey

ACCEPT = b"\r\naccept\r\n"  # the operation, as one argument of a call of the script

FINE = "fine"
ANSWER_LOST = "the answer gets lost"
REQUEST_LOST = "the request gets lost"
REFUSED = "the journal refuses"
_LOST = {ANSWER_LOST, REQUEST_LOST}


class Unsteady(Proxy):
    """Forwards connections to a journal, and has each ``accept`` end as ``ends`` say, in order.

    When they are used up, all is fine. A request is taken to arrive as one piece.
    """

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.ends: list[str] = []
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def plan(self, ends: Iterable[str]) -> None:
        """Have the next accepts end so; what is lost gets lost at its second try, too."""
        self.ends = [end for end in ends for _ in range(2 if end in _LOST else 1)]

    def connect(self, client: socket.socket, server: socket.socket) -> Link:
        return _Failing(client, server, self)


class _Failing(Link):
    def __init__(self, client: socket.socket, server: socket.socket, journal: Unsteady) -> None:
        super().__init__(client, server)
        self._journal = journal
        self._end = FINE

    def pass_on(self, source: socket.socket, data: bytes) -> bool:
        if source is self.client and ACCEPT in data:
            self._end = self._journal.ends.pop(0) if self._journal.ends else FINE
        if self._end == REFUSED:
            self.client.sendall(b"-MISCONF the disk is full\r\n")
            self._end = FINE
            return True
        if self._end == (REQUEST_LOST if source is self.client else ANSWER_LOST):
            return False
        return super().pass_on(source, data)


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
