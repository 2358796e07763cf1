"""Which servers are refused because they may throw messages away."""

import pytest

from mailqueue.errors import ImproperlyConfigured
from mailqueue.queue.journal import Journal
from mailqueue.store.client import connect
from tests.contracts.journals import entry


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "allkeys-random"])
def test_a_server_that_may_evict_any_key_is_refused(redis_url, policy):
    """Nothing is accepted there, whichever keys it would take first."""
    client = connect(redis_url, 30.0)
    client.config_set("maxmemory-policy", policy)
    try:
        with pytest.raises(ImproperlyConfigured, match=policy):
            Journal(client, "q").accept([entry("m")])
    finally:
        client.config_set("maxmemory-policy", "noeviction")
    assert client.dbsize() == 0
