"""What a journal's server has forgotten when it comes back after a crash."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailqueue.queue.journal import Journal
from mailqueue.store.client import connect
from tests.contracts.journals import POLICY, SENT, accepted, claimed
from tests.servers import Valkey


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Valkey]:
    with Valkey(
        tmp_path / "valkey", config={"appendonly": "yes", "appendfsync": "always"}
    ) as server:
        yield server


def forget_since(copy: Path, server: Valkey, directory: Path) -> None:
    """Kill the server, and have it come back with what was on its disk at that time."""
    server.terminate()
    shutil.rmtree(directory)
    copy.rename(directory)
    server.start()


def test_no_token_comes_again_after_a_loss(server: Valkey, tmp_path: Path) -> None:
    """A claim of the last second is forgotten; its worker lives, and must not send too."""
    client = connect(server.url, 10.0)
    journal = Journal(client, "q", POLICY)
    accepted(journal, "m")
    shutil.copytree(tmp_path / "valkey", tmp_path / "copy")
    forgotten = claimed(journal, "m")
    forget_since(tmp_path / "copy", server, tmp_path / "valkey")
    client.connection_pool.disconnect()
    newer = claimed(journal, "m")
    assert (forgotten.attempt, newer.attempt) == (1, 1)
    assert forgotten.token != newer.token
    assert not journal.commit(forgotten)
    assert not journal.settle(forgotten, SENT)
    assert not journal.give_back(forgotten)
    assert journal.renew([forgotten]) == 0
    assert journal.commit(newer)
    assert journal.settle(newer, SENT)
    client.close()
