"""Mutations of what speaks to Redis or Valkey: connections, scripts, seals."""

from .row import of

MUTATIONS = [
    *of(
        "store/client",
        "contracts/test_script.py faults/test_outage.py",
        (
            "    if unknown:\n        return EnqueueUnknown(",
            "    if False:\n        return EnqueueUnknown(",
            "contracts/test_script.py::test_lost_while_an_answer_is_outstanding",
        ),
    ),
    *of(
        "store/pool",
        "contracts/test_script.py faults/test_outage.py",
        (
            "self.process == os.getpid() and not self.connection.can_read()",
            "self.process == os.getpid()",
            "contracts/test_script.py::test_closed_while_idle",
        ),
    ),
    *of(
        "store/sealing",
        "unit/test_sealer.py integration/test_sealing.py",
        (
            "in self._ciphers.items():\n            token",
            "in reversed(self._ciphers.items()):\n            token",
        ),
    ),
    *of(
        "store/spin",
        "unit/test_waiting.py",
        (
            "min(2 * self._to_pass, _MOST_PASSED)",
            "2 * self._to_pass",
            "unit/test_waiting.py::test_a_server_that_is_far_away_is_slept_for",
        ),
        (
            "type(connected).__module__ not in _KINDS",
            "False",
            "unit/test_waiting.py::test_a_greenlet_keeps_no_others_waiting",
        ),
    ),
]
