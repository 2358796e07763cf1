"""What a journal that is full in the middle of many messages says of them."""

import pytest

from mailqueue.errors import JournalUnavailable
from mailqueue.queue.journal import Journal
from mailqueue.state import State
from mailqueue.store.client import connect
from tests.contracts.journals import POLICY, entry


def test_a_failure_in_the_middle_names_those_that_were_not_accepted(redis_url):
    """Who keeps these for later, or sends them again, neither loses nor doubles any."""
    client = connect(redis_url, 30.0)
    journal = Journal(client, "q", POLICY)
    journal.accept([entry("first")])
    small = [entry(f"small{n}") for n in range(500)]
    large = [entry(f"large{n}", payload="x" * 100_000) for n in range(200)]
    client.config_set("maxmemory", client.info("memory")["used_memory"] + 5_000_000)
    try:
        with pytest.raises(JournalUnavailable) as caught:
            journal.accept([*small, *large])
    finally:
        client.config_set("maxmemory", 0)
    assert caught.value.ids == tuple(message.id for message in large)
    assert journal.counts()[State.QUEUED] == 501
