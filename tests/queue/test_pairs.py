"""A message is the same whoever composes it and whoever delivers it.

Whoever has this interpreter's Django or none; ``python -m tests.tools.pairs`` has all versions.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from mailqueue import EmailMessage
from mailqueue.testing import RecordingServer
from tests.queue import pairs


def test_djangos_way_of_writing_has_its_line_ends() -> None:
    """As the SMTP backends of Django before 6.0 ask for them; no bare LF may reach a server."""
    built = EmailMessage("Subject", "a\nb", "me@example.com", ["ann@example.com"]).message()
    for written in (built.as_bytes(linesep="\r\n").decode(), built.as_string(linesep="\r\n")):
        assert "\r\na\r\nb\r\n" in written
        assert "\n" not in written.replace("\r\n", "")


@pytest.fixture(scope="module")
def found() -> Iterator[pairs.Found]:
    """What became of the messages of each composer at each deliverer."""
    composed = {family: pairs.composed_by(sys.executable, family) for family in pairs.COMPOSERS}
    delivered = {}
    with ExitStack() as stack:
        for worker in pairs.WORKERS:
            servers = {b: stack.enter_context(RecordingServer()) for b in pairs.SMTP}
            delivered[worker] = pairs.delivered(sys.executable, worker, composed, servers)
        yield pairs.Found(composed, delivered)


@pytest.mark.parametrize("family", pairs.COMPOSERS)
@pytest.mark.parametrize(("worker", "backend"), pairs.deliverers())
def test_every_pair_delivers_what_was_composed(
    family: str, worker: str, backend: str, found: pairs.Found
) -> None:
    """Headers, parts, attachments and charsets; and each byte of what a class builds itself."""
    composed, delivered = found.composed[family], found.delivered[worker][backend]
    assert composed
    assert list(pairs.differences(composed, delivered)) == []
