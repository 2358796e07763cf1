"""Which states are a message's end."""

from mailqueue.state import State


def test_these_states_are_final():
    """What is in one of them is removed when it has been kept long enough, and purged on demand."""
    final = {state.value for state in State if state.final}
    assert final == {"sent", "partial", "failed", "cancelled", "expired"}
