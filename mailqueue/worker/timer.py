"""The worker's timer: it looks every second for what is due."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence

from mailqueue.conf import settings
from mailqueue.delivery.gate.breaker import View
from mailqueue.delivery.opening import mailer_name, shared_breaker
from mailqueue.errors import MailqueueError
from mailqueue.local.heartbeat import Heartbeat
from mailqueue.queue.broker import reach_broker
from mailqueue.queue.journal import Due, Journal, Timekeeper, open_journals
from mailqueue.queue.publisher import publish_due
from mailqueue.state import State

from .flag import stopping
from .spool import SpoolKeeper

_log = logging.getLogger(__name__)
_SECONDS_BETWEEN_ROUNDS = 1.0
_SECONDS_BETWEEN_TRIMS = 60.0
# Seconds for which a timer that couldn't publish leaves that to others, each time for longer.
_FIRST_LEFT, _LONGEST_LEFT = 2.0, 16.0
_AT_ONCE = 1000  # messages released in a round
_BITES, _BITE = 100, 1000  # records removed at a time, for each final state


class Timer:
    """A thread in the worker's main process that looks every second for what is due.

    It publishes tasks for messages that are new without a task, retrying, scheduled, or left behind
    by a worker that vanished; of all workers' timers one acts in each second. One that can't
    publish leaves that to the others until it reaches the broker again. It also removes records
    that have been kept long enough, and replays this machine's spool.
    """

    def __init__(
        self,
        journals: Callable[[], list[Journal]] = open_journals,
        view: Callable[[], View] = lambda: shared_breaker().look(),
        check_worker: Callable[..., object] = lambda **_: None,
        reach: Callable[[], object] = reach_broker,
        taken: Callable[[], Sequence[str] | None] = lambda: None,
        node: str = "",
    ) -> None:
        self._journals = journals
        self._view = view
        self._check_worker = check_worker
        self._reach = reach
        self._failures = 0  # to publish, in a row
        self._leaves_until = 0.0
        self._taken = taken
        self._stop = threading.Event()
        self._next_trim = 0.0
        self._spool_keeper = SpoolKeeper()
        self._timekeepers: dict[str, Timekeeper] = {}
        self._in_trouble = False
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._heartbeat = Heartbeat(self._name, node)
        self._thread = threading.Thread(target=self._run, name="mailqueue-timer", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the round that is under way, which takes a few seconds at the very most."""
        self._stop.set()
        self._thread.join(timeout=5)
        self._heartbeat.end()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._heartbeat.beat()  # first: whatever else is away, the worker lives
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
        self._check_worker(stopping=stopping.is_set())
        trims = time.monotonic() >= self._next_trim
        limit = self._limit() if self._may_publish() else 0
        journals = self._journals()
        # Before anything is released: a result that is on record spares a second copy.
        self._spool_keeper.round()
        for journal in journals:
            self._timekeeper(journal).look()
            journal.beat(self._name, self._taken(), [mailer_name()])
            due = journal.release(limit, tick=_SECONDS_BETWEEN_ROUNDS * 0.9) if limit else []
            if due:
                self._publish(journal, due)
            if trims:
                _trim(journal)
        if trims:
            self._next_trim = time.monotonic() + _SECONDS_BETWEEN_TRIMS

    def _publish(self, journal: Journal, due: Sequence[Due]) -> None:
        unpublished = publish_due(journal.queue, due)
        if not unpublished:
            self._failures = 0
            return
        # Another worker may reach the broker: it finds them due at once, and the next ticks free.
        journal.put_back(unpublished)
        left = min(_FIRST_LEFT * 2 ** min(self._failures, 30), _LONGEST_LEFT)
        self._failures += 1
        self._leaves_until = time.monotonic() + left

    def _may_publish(self) -> bool:
        """Whether to take what is due from the others, as far as is known before."""
        if not self._failures:
            return True
        if time.monotonic() < self._leaves_until:
            return False
        try:
            self._reach()
        except Exception as error:  # noqa: BLE001 - kombu's transports raise what they like
            _log.info("the timer leaves what is due to other workers: %s", error)
            return False
        return True

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


def _trim(journal: Journal) -> None:
    config = settings.MAILQUEUE
    for state in State:
        if state.final:
            keep = config.KEEP_SENT if state is State.SENT else config.KEEP_FAILED
            # In small bites, so that nobody has to wait for the server; the rest comes next time.
            for _ in range(_BITES):
                if journal.trim(state, keep, _BITE) < _BITE:
                    break
