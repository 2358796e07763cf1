"""Mutations of what a worker does besides tasks."""

from .row import of

MUTATIONS = [
    *of(
        "worker/timer",
        "contracts/test_retention.py faults/test_operations.py faults/test_worker_death.py",
        ("options.KEEP_SENT if state is State.SENT else options.KEEP_FAILED", "options.KEEP_SENT"),
    ),
    *of(
        "worker/watchdog",
        "unit/test_hearing.py",
        (
            "if is_deaf and self._was_deaf:",
            "if False:",
            "unit/test_hearing.py::test_two_looks_that_find_the_same_have_it_connect_anew",
        ),
        (
            "if is_deaf and self._was_deaf:",
            "if is_deaf:",
            "unit/test_hearing.py::test_two_looks_that_find_the_same_have_it_connect_anew",
        ),
    ),
]
