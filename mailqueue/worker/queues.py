"""The queues that this worker takes tasks from, and whose turn it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress

from mailqueue.errors import JournalUnavailable
from mailqueue.queue.journal import Journal

# A task costs some milliseconds to begin, so each queue has the worker for that long: seconds.
_TURN = 0.2


class Taken:
    """The names of the queues; processes forked from this one have those of that moment."""

    def __init__(self) -> None:
        self._look: Callable[[], Collection[str]] = tuple

    def note(self, look: Callable[[], Collection[str]]) -> None:
        """Tell who knows them."""
        self._look = look

    def names(self) -> list[str]:
        """Their names: none where no worker runs."""
        return list(self._look())


taken = Taken()


class Turn(threading.local):
    """A thread's turn with one queue, which several tasks may share.

    After it, mail of other queues that waits for this worker goes first. A worker may hold more
    tasks of the same queue already, and each of these then delivers one message only.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._queue = ""
        self._until = 0.0

    def begin(self, journal: Journal, others: Collection[str]) -> Callable[[], bool]:
        """Begin a task, or go on with the next one; what is returned says whether to end it."""
        if journal.queue != self._queue:
            self._queue, self._until = journal.queue, self._clock() + _TURN
        is_over = False

        def gives_way() -> bool:
            nonlocal is_over
            if others and not is_over and self._clock() >= self._until:
                is_over = _is_queued(journal, others)
                if not is_over:
                    self._until = self._clock() + _TURN
            return is_over

        return gives_way


def _is_queued(journal: Journal, queues: Collection[str]) -> bool:
    with suppress(JournalUnavailable):  # it shows when the next message is committed
        return journal.is_queued_in(list(queues))
    return False


_turn = Turn()


def begin_turn(journal: Journal) -> Callable[[], bool]:
    """Begin a task of that queue; what is returned says whether another queue's mail goes first."""
    return _turn.begin(journal, [name for name in taken.names() if name != journal.queue])
