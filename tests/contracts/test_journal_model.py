"""The journal under random interleavings of producers, workers, crashes and clocks.

A model drives the real script on a real Valkey; after every step the invariants of
`tests/contracts/ledger.py` hold. What a random history found is kept as an example.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from mailqueue.store.client import connect
from tests.contracts.machine import JournalMachine


def test_no_interleaving_breaks_an_invariant(redis_url: str) -> None:
    """Whoever crashes, stalls or comes back when: nothing lost, no copy but in doubt, one fate."""
    client = connect(redis_url, 30.0)
    # Half as many again as the profile says: those of other tests are cheaper.
    examples = settings.default.max_examples * 3 // 2
    options = settings(max_examples=examples, deadline=None, suppress_health_check=HealthCheck)
    run_state_machine_as_test(lambda: JournalMachine(client), settings=options)
