"""A thread of each worker process for what can't wait: leases, and idle connections."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable

_log = logging.getLogger(__name__)
_SECONDS_BETWEEN_ROUNDS = 1.0


class Housekeeper:
    """Calls what is registered with it, about once a second, in a daemon thread of this process."""

    def __init__(self) -> None:
        self._duties: set[Callable[[], object]] = set()
        self._lock = threading.Lock()
        self._process = 0
        self._stop = threading.Event()

    def add(self, duty: Callable[[], object]) -> None:
        """Call ``duty`` in each round from now on."""
        with self._lock:
            self._duties.add(duty)
            if self._process != os.getpid():  # also in a child: threads don't survive a fork
                thread = threading.Thread(
                    target=self._run, name="mailqueue-housekeeper", daemon=True
                )
                thread.start()  # which the machine may refuse: then the next one tries again
                self._process = os.getpid()

    def remove(self, duty: Callable[[], object]) -> None:
        """Call ``duty`` no more."""
        with self._lock:
            self._duties.discard(duty)

    def _run(self) -> None:
        while not self._stop.wait(_SECONDS_BETWEEN_ROUNDS):
            with self._lock:
                duties = list(self._duties)
            for duty in duties:
                try:
                    duty()
                except Exception:  # noqa: BLE001
                    # One failed round (the journal is away, say) must not end all later ones.
                    _log.warning("housekeeping failed", exc_info=True)


housekeeper = Housekeeper()
