"""What a Celery worker does besides tasks: the timer, the clean end, its own queue.

Importing this module connects it to Celery's signals, whoever's application the worker runs.
"""

from __future__ import annotations

import logging
import mmap
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from celery import signals

from .breaker import View
from .conf import LIFELINE, settings
from .connection import close_connections, shared_breaker
from .errors import ImproperlyConfigured, JournalUnavailable, MailqueueError
from .hearing import Hearing
from .journal import Journal, State, open_journal, open_journals
from .publisher import TASK, publish_due
from .spool import current_spool

# Celery sends this one from a signal's handler, and the next such signal may come in the middle of
# that. For its lock, which the same thread holds then, it would wait for ever.
signals.worker_shutting_down.lock = threading.RLock()

_log = logging.getLogger(__name__)
_SECONDS_BETWEEN_ROUNDS = 1.0
_SECONDS_BETWEEN_TRIMS = 60.0
_AT_ONCE = 1000  # messages released in a round
_REPLAYED_AT_ONCE = 500  # files of the spool in a round: a second or so, if the disk is slow
_SECONDS_LEFT_ALONE = 15.0  # after a replay from which files were left
_BITES, _BITE = 100, 1000  # records removed at a time, for each final state


class Flag:
    """A flag that processes forked from this one share; to look at it takes no lock."""

    def __init__(self) -> None:
        self._byte = mmap.mmap(-1, 1)

    def is_set(self) -> bool:
        """Whether it was set, here or in a related process."""
        return self._byte[0] != 0

    def set(self) -> None:
        """Set it for all."""
        self._byte[0] = 1

    def clear(self) -> None:
        """Take it back, for all."""
        self._byte[0] = 0


# Set in the worker's main process when it is to stop. The processes of its pool are forked from
# there and see it too: a batch looks at it several times a message.
stopping = Flag()


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
            journal.beat(self._name)
            due = journal.release(limit, tick=_SECONDS_BETWEEN_ROUNDS * 0.9) if limit else []
            unpublished = publish_due(journal.queue, due)
            if unpublished:  # due at once, not after the grace: the broker may be back in seconds
                journal.put_back(unpublished)
            if trims:
                _trim(journal)
        if trims:
            self._next_trim = time.monotonic() + _SECONDS_BETWEEN_TRIMS

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
    options = settings.MAILQUEUE
    for state in State:
        if state.final:
            keep = options.KEEP_SENT if state is State.SENT else options.KEEP_FAILED
            # In small bites, so that nobody has to wait for the server; the rest comes next time.
            for _ in range(_BITES):
                if journal.trim(state, keep, _BITE) < _BITE:
                    break


_timers: list[Timer] = []


@signals.worker_init.connect  # type: ignore[untyped-decorator]
def check_journal(**_: Any) -> None:
    """Refuse to start on a journal that would lose messages."""
    try:
        open_journal().check(fsync=settings.MAILQUEUE.DURABILITY == "fsync")
    except JournalUnavailable as error:
        _log.error("%s; the worker waits for it", error)
    except ImproperlyConfigured as error:
        sys.exit(f"mailqueue: {error}")


@signals.worker_init.connect  # type: ignore[untyped-decorator]
def try_mailer(**_: Any) -> None:
    """Try a mailer at once that our own mistake kept from being used: this start may mend it."""
    with suppress(JournalUnavailable, ImproperlyConfigured):  # check_journal has said so
        shared_breaker().hasten()


@signals.worker_init.connect  # type: ignore[untyped-decorator]
def end_with_parent(**_: Any) -> None:
    """Stop when `mailqueue up`, which started this worker, is gone."""
    lifeline = os.environ.pop(LIFELINE, "")

    def wait() -> None:
        os.read(int(lifeline), 1)
        os.kill(os.getpid(), signal.SIGTERM)

    if lifeline:
        threading.Thread(target=wait, name="mailqueue-lifeline", daemon=True).start()


@signals.celeryd_after_setup.connect  # type: ignore[untyped-decorator]
def consume_own_queue(instance: Any, **_: Any) -> None:
    """Consume mailqueue's queue in any worker that wasn't told by ``-Q`` which ones to take."""
    queues = instance.app.amqp.queues
    if queues._consume_from is None:  # set by -Q; Celery has no public name for it
        queues.select_add(settings.MAILQUEUE.QUEUE)


@signals.celeryd_after_setup.connect  # type: ignore[untyped-decorator]
def spare_mail(instance: Any, **_: Any) -> None:
    """Keep the worker's time limits from mail: a server may take 10 minutes to answer the dot.

    The pool holds them for every task that has none of its own, so they move to the other tasks.
    """
    others = [task for name, task in instance.app.tasks.items() if name != TASK]
    for option, attribute in {"timeout": "time_limit", "soft_timeout": "soft_time_limit"}.items():
        limit = instance.pool.options.pop(option, None)
        for task in others:
            if getattr(task, attribute) is None:
                setattr(task, attribute, limit)


@signals.worker_ready.connect  # type: ignore[untyped-decorator]
def start_timer(sender: Any, **_: Any) -> None:
    """Start the timer in the worker's main process."""
    stopping.clear()
    timer = Timer(check_worker=Hearing(sender).check)
    _timers.append(timer)
    timer.start()


@signals.worker_shutting_down.connect  # type: ignore[untyped-decorator]
def finish_message_in_hand(**_: Any) -> None:
    """Tell the pool to end after the message in hand; the rest of each batch stays queued."""
    stopping.set()


@signals.worker_shutdown.connect  # type: ignore[untyped-decorator]
def stop_timer(**_: Any) -> None:
    """Stop the timer, and close what a pool of threads has open."""
    while _timers:
        _timers.pop().stop()
    close_connections()


@signals.worker_process_shutdown.connect  # type: ignore[untyped-decorator]
def say_quit(**_: Any) -> None:
    """Close the connections of a process of the pool."""
    close_connections()
