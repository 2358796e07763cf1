"""The worker's timer: it looks every second for what is due."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable

from mailqueue.conf import settings
from mailqueue.delivery.gate.breaker import View
from mailqueue.delivery.opening import shared_breaker
from mailqueue.errors import MailqueueError
from mailqueue.queue.journal import Journal, Timekeeper, open_journals
from mailqueue.queue.publisher import publish_due
from mailqueue.queue.spool import current_spool
from mailqueue.state import State

from .flag import stopping

_log = logging.getLogger(__name__)
_SECONDS_BETWEEN_ROUNDS = 1.0
_SECONDS_BETWEEN_TRIMS = 60.0
_AT_ONCE = 1000  # messages released in a round
_REPLAYED_AT_ONCE = 500  # files of the spool in a round: a second or so, if the disk is slow
_SECONDS_LEFT_ALONE = 15.0  # after a replay from which files were left
_BITES, _BITE = 100, 1000  # records removed at a time, for each final state


class Timer:
    """A thread in the worker's main process that looks every second for what is due.

    It publishes tasks for messages that are new without a task, retrying, scheduled, or left behind
    by a worker that vanished; of all workers' timers one acts in each second. It also removes
    records that have been kept long enough, and replays this machine's spool.
    """

    def __init__(
        self,
        journals: Callable[[], list[Journal]] = open_journals,
        view: Callable[[], View] = lambda: shared_breaker().look(),
        check_worker: Callable[[], object] = lambda: None,
    ) -> None:
        self._journals = journals
        self._view = view
        self._check_worker = check_worker
        self._stop = threading.Event()
        self._next_trim = self._next_replay = 0.0
        self._timekeepers: dict[str, Timekeeper] = {}
        self._in_trouble = False
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._thread = threading.Thread(target=self._run, name="mailqueue-timer", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the round that is under way, which takes a few seconds at the very most."""
        self._stop.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.round()
                self._in_trouble = False
            except MailqueueError as error:
                if not self._in_trouble:  # once for each outage, not every second
                    _log.error("the timer can't do its work: %s", error)
                self._in_trouble = True
            except Exception:  # noqa: BLE001 - one failed round must not end all later ones
                _log.exception("the timer failed in this round, and tries again in the next")
            self._stop.wait(_SECONDS_BETWEEN_ROUNDS)

    def round(self) -> None:
        """Look once at the worker, and at every queue."""
        if not stopping.is_set():  # one that ends takes no tasks either
            self._check_worker()
        trims = time.monotonic() >= self._next_trim
        limit = self._limit()
        journals = self._journals()
        # Before anything is released: a result that is on record spares a second copy.
        self._replay_spool()
        for journal in journals:
            self._timekeeper(journal).look()
            journal.beat(self._name)
            due = journal.release(limit, tick=_SECONDS_BETWEEN_ROUNDS * 0.9) if limit else []
            unpublished = publish_due(journal.queue, due)
            if unpublished:  # due at once, not after the grace: the broker may be back in seconds
                journal.put_back(unpublished)
            if trims:
                _trim(journal)
        if trims:
            self._next_trim = time.monotonic() + _SECONDS_BETWEEN_TRIMS

    def _timekeeper(self, journal: Journal) -> Timekeeper:
        return self._timekeepers.setdefault(journal.queue, Timekeeper(journal))

    def _limit(self) -> int:
        """How many messages to release of each queue: none for a mailer that is left alone.

        One for a mailer that is to be tried again: a thousand tasks would only come back.
        """
        view = self._view()
        if view.wait:
            return 0
        return _AT_ONCE if view.closed else 1

    def _replay_spool(self) -> None:
        spool = current_spool()
        if time.monotonic() < self._next_replay or not spool.waits():
            return
        found = spool.replay(_REPLAYED_AT_ONCE, wait=False)
        if found.done:
            _log.info(
                "spool: %d messages accepted, %d results recorded", found.accepted, found.recorded
            )
        for reason in found.reasons:
            _log.error("spool: %s", reason)
        if found.reasons:
            self._next_replay = time.monotonic() + _SECONDS_LEFT_ALONE


def _trim(journal: Journal) -> None:
    config = settings.MAILQUEUE
    for state in State:
        if state.final:
            keep = config.KEEP_SENT if state is State.SENT else config.KEEP_FAILED
            # In small bites, so that nobody has to wait for the server; the rest comes next time.
            for _ in range(_BITES):
                if journal.trim(state, keep, _BITE) < _BITE:
                    break
