"""What an error costs that is not the message's fault: no attempt, some time, and an alarm."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from mailqueue.errors import JournalUnavailable
from mailqueue.queue.journal import Claim, Journal

from .connection import Connection
from .fault import machine_trouble
from .retry import RetryPolicy, delay_before

_log = logging.getLogger(__name__)
# Seconds for which a message waits that has met the machine's trouble before it was begun.
_WAITS = 10.0
_WITHOUT_SCHEDULE = 60.0  # seconds for which one waits where RETRY names none
_ENOUGH = 5  # errors while others were sent: then it is the message's own fault
# Seconds for which health tells of it: the machine's trouble is told anew with each rest.
_TOLD_OF_MACHINE, _TOLD_OF_ERROR = 120.0, 3600.0
_ERRORS = "errors"


class Mishaps:
    """Decides for how long a message waits that met an error without a fault of its own."""

    def __init__(
        self, journal: Journal, connection: Connection, policy: RetryPolicy, worker: str
    ) -> None:
        self._journal = journal
        self._connection = connection
        self._policy = policy
        self._worker = worker

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Have the worker rest where the machine's trouble comes while no message is in hand."""
        try:
            yield
        except JournalUnavailable:
            raise
        except Exception as error:
            trouble = machine_trouble(error)
            if trouble is None:
                raise
            self._rest(trouble.reply)

    def _rest(self, reason: str) -> float:
        rest = self._connection.rest()
        _log.error("this machine is in trouble, and the worker rests for %.0f s: %s", rest, reason)
        with suppress(JournalUnavailable):
            self._journal.alarm(self._worker, f"the worker lacks {reason}", _TOLD_OF_MACHINE)
        return rest

    def meet_machine_trouble(self, claim: Claim, reason: str, handed_over: bool) -> float | None:
        """Have the worker rest, and tell people; return the seconds for which the message waits.

        One that was ``handed_over`` to a foreign backend may have been sent all the same. So that
        copies are as few, it waits as after a refusal for now, and None says that it is too old.
        """
        rest = self._rest(reason)
        if not handed_over:
            return max(rest, _WAITS)
        return self._pace(claim, self._journal.note_fault(claim, None).faults, handed_over)

    def note_recovery(self) -> None:
        """Take back the alarm where the machine is out of trouble."""
        if self._connection.has_recovered():
            with suppress(JournalUnavailable):
                self._journal.alarm(self._worker, "", 0)

    def meet_unexplained(self, claim: Claim, reason: str, handed_over: bool) -> float | None:
        """Tell people; return the seconds for which the message waits.

        None where the error came again and again while the same worker sent others, or where the
        message is too old, as above.
        """
        faults, counted = self._journal.note_fault(claim, self._connection.idle)
        wait = None if counted >= _ENOUGH else self._pace(claim, faults, handed_over)
        what = "fails" if wait is None else "waits"
        _log.error("message %s %s for an error nobody can explain: %s", claim.id, what, reason)
        with suppress(JournalUnavailable):
            told = f"message {claim.id} {what} for an error nobody can explain: {reason}"
            self._journal.alarm(_ERRORS, told, _TOLD_OF_ERROR)
        return wait

    def _pace(self, claim: Claim, faults: int, handed_over: bool) -> float | None:
        """The wait after so many errors: as after so many attempts, but these never run out."""
        tries = min(max(faults, 1), len(self._policy.delays))
        wait = delay_before(tries, self._policy) if tries else _WITHOUT_SCHEDULE
        is_too_old = handed_over and claim.age + wait > self._policy.max_age
        return None if is_too_old else wait
