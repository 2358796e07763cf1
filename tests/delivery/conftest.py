"""A delivery in this process, in milliseconds: no process of ours, and no server of the journal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import fakeredis
import pytest

import mailqueue
from mailqueue.queue.journal import Journal
from tests.contracts.journals import Clock
from tests.contracts.transports.kinds import KINDS, Kind
from tests.contracts.transports.wire import TIMES, Wire
from tests.scripted import ScriptedServer

_OURS = [kind for kind in KINDS if kind.name in {"DATA pipelined", "BDAT two under way"}]


@pytest.fixture(params=_OURS, ids=str)
def wire(request: pytest.FixtureRequest, scrubbed: None, stack: ExitStack) -> Iterator[Wire]:
    """A delivery by DATA and by BDAT, whose journal is in this process and on the test's clock."""
    kind: Kind = request.param
    server = stack.enter_context(ScriptedServer(features=kind.features))
    mailqueue.configure(**kind.settings(server.port))
    client = fakeredis.FakeRedis(decode_responses=True)
    clock = Clock(client)
    found = Wire(kind, clock.on(Journal(client, "q", TIMES)), clock, server)
    yield found
    found.close()
    client.close()
