"""Messages on their way into the queue: accepted, kept through an outage, published."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence, Sized
from pathlib import Path
from typing import Any

from mailqueue.conf import settings
from mailqueue.conf.server import journal_url
from mailqueue.conf.spool import spool_directory
from mailqueue.errors import (
    EnqueueError,
    EnqueueUnknown,
    ImproperlyConfigured,
    JournalUnavailable,
    MailqueueError,
)
from mailqueue.events import count, report
from mailqueue.mail.routing import delivery_backend
from mailqueue.store.direct import CHANGED

from .accepted import Accepted
from .broker import producer_app
from .call import Call
from .handover import for_backend
from .journal import Acceptance, open_journal
from .options import Priority
from .portion import Portion, checked_portions, portions
from .publisher import publish
from .spool import current_spool
from .submission import Submission

_log = logging.getLogger(__name__)
# So few at once may join a task that waits; more get tasks of their own, for several workers.
_JOIN = 10
_SECONDS_LEFT_ALONE = 5.0
_prepared: set[Path] = set()  # spools that this process could write to
_left_alone_until: dict[str, float] = {}  # by the journal's URL, on the monotonic clock


class Producer:
    """Hands messages to the queue; ``queue`` names another one than the settings do."""

    def __init__(self, queue: str | None, *, fail_silently: bool) -> None:
        self._queue = queue
        self._fail_silently = fail_silently

    def send(self, messages: Iterable[Any]) -> Accepted:
        """Accept the messages; return how many. The door, the queue backend, says what holds."""
        with settings.MAILQUEUE.steady():
            if settings.MAILQUEUE.CELERY_APP:
                producer_app()  # a wrong one is an error before anything is accepted
            if settings.MAILQUEUE.ON_OUTAGE == "spool":
                _prepare_spool()  # likewise
            waiting = settings.MAILQUEUE.loosely(messages)
            if not isinstance(messages, Sized):
                call = Call(remembers=False)
                return self._send_all(portions(waiting, call, self._queue), call)
            call, listed = Call(remembers=True), list(waiting)
            if len(listed) == 1:
                return self._send_all(portions(iter(listed), call, self._queue), call)
            return self._send_all(checked_portions(listed, call, self._queue), call)

    def _send_all(self, portions: Iterable[Portion], call: Call) -> Accepted:
        try:
            for portion in portions:
                self._send_portion(portion.messages, call)
                portion.clear()
            call.end()
        except BaseException as error:
            call.fail()
            _note(error, call)
            # Raised here, and by no function that has it: its frames would live on in a cycle.
            if not (self._fail_silently and isinstance(error, EnqueueError)):
                raise
            left = call.total - call.count
            count("not_queued", left)
            report(_log, "%d messages were not queued: %s", left, error)
        return call.accepted

    def _send_portion(self, portion: Sequence[Submission], call: Call) -> None:
        call.begin_portion(portion)
        by_queue: dict[str, list[Submission]] = {}
        for submission in portion:
            if not submission.is_accepted:
                by_queue.setdefault(submission.queue, []).append(submission)
        for queue, group in by_queue.items():
            call.take_in_hand(group)
            self._send_to(queue, group, call)
        call.end_portion()

    def _send_to(self, queue: str, group: Sequence[Submission], call: Call) -> None:
        start = time.monotonic()
        try:
            accepted = _accept(queue, group)
        except MailqueueError as error:
            call.in_doubt = isinstance(error, EnqueueUnknown)
            if not isinstance(error, EnqueueError):
                raise
            self._in_outage(queue, group, error, call)
            return
        waiting: dict[Priority, list[tuple[str, str]]] = {}
        for submission, (id_, needs_task) in zip(group, accepted, strict=True):
            call.accept(submission, id_)
            if needs_task:
                place = waiting.setdefault(submission.options.priority, [])
                place.append((id_, submission.entry.payload))
        # A journal that took its time leaves none to wait for a broker: a timer will publish.
        if time.monotonic() - start < settings.MAILQUEUE.ENQUEUE_TIMEOUT / 2:
            for priority, messages in waiting.items():
                publish(queue, messages, priority)

    def _in_outage(
        self, queue: str, group: Sequence[Submission], error: EnqueueError, call: Call
    ) -> None:
        choice = settings.MAILQUEUE.ON_OUTAGE
        if choice == "spool":
            _keep_in_spool(queue, group, error, call)
            return
        # What may have been accepted would be sent twice.
        refused = not isinstance(error, EnqueueUnknown)
        if choice == "send" and refused and all(one.may_go_directly for one in group):
            self._send_directly(group, error, call)
            return
        raise _whole_truth(error, group)

    def _send_directly(self, group: Sequence[Submission], error: EnqueueError, call: Call) -> None:
        """Deliver in the caller, message by message, like a backend without a queue."""
        sent = 0
        backend = delivery_backend()
        try:
            backend.open()
            for submission in group:
                message = for_backend(submission.rebuild(), backend)
                if backend.send_messages([message]):
                    call.accept(submission)
                    sent += 1
        except Exception as failure:
            failure.add_note(f"mailqueue delivered it directly, since {error}")
            if not (self._fail_silently and _is_of(backend, failure)):
                raise failure from error
            count("not_queued", len(group) - sent)
            text = "%d messages were neither queued (%s) nor sent: %s"
            report(_log, text, len(group) - sent, error, failure)
        finally:
            backend.close()
            count("sent_directly", sent)
        report(_log, "%d messages were sent directly: %s", sent, error, level=logging.WARNING)


def _note(error: BaseException, call: Call) -> None:
    """Note on the error what was accepted before."""
    if isinstance(error, EnqueueError):
        error.accepted, error.count = call.accepted.ids, call.count
    elif call.count:
        error.add_note(f"mailqueue had accepted {call.count} messages of the call before")


def _is_of(backend: Any, failure: Exception) -> bool:
    """Whether an error is of a backend's making; a soft time limit, say, comes from outside."""
    own, theirs = (type(one).__module__.partition(".")[0] for one in (backend, failure))
    return own == theirs or isinstance(failure, (OSError, MailqueueError, *CHANGED))


class _LeftAlone(JournalUnavailable):
    """The journal was not asked, since it was away a moment ago."""


def _accept(queue: str, group: Sequence[Submission]) -> list[Acceptance]:
    config = settings.MAILQUEUE
    fsync = config.DURABILITY == "fsync"
    # A task takes as many as BATCH_SIZE, with those that it names.
    room = max(config.BATCH_SIZE - len(group), 0) if len(group) <= _JOIN else 0
    _refuse_in_outage()
    return open_journal(queue).accept([one.entry for one in group], fsync=fsync, room=room)


def _whole_truth(error: EnqueueError, group: Sequence[Submission], more: str = "") -> EnqueueError:
    """The error to be raised: a message that an earlier call left in doubt is still in doubt."""
    in_doubt = [submission.entry.id for submission in group if submission.in_doubt]
    if isinstance(error, EnqueueUnknown) or not in_doubt:
        return type(error)(f"{error}{more}", error.ids) if more else error
    text = f"{error}{more}; an earlier send() of the same object may have been accepted"
    found = EnqueueUnknown(text, in_doubt)
    found.__cause__ = error
    return found


def _prepare_spool() -> None:
    """Have the spool ready: an outage is no time to learn that there is none."""
    directory = spool_directory()
    if directory in _prepared:
        return
    try:
        current_spool().prepare()
    except OSError as error:
        raise ImproperlyConfigured(
            f"MAILQUEUE['ON_OUTAGE'] = 'spool', and nothing can be kept in {directory}: {error}; "
            "correct that, or set MAILQUEUE['SPOOL_DIR']"
        ) from error
    _prepared.add(directory)


def _refuse_in_outage() -> None:
    """Leave a journal alone that was away a moment ago: not every ``send()`` has to wait for it."""
    if settings.MAILQUEUE.ON_OUTAGE != "spool":
        return
    if time.monotonic() < _left_alone_until.get(journal_url(), 0):
        raise _LeftAlone("the journal was away a moment ago")


def _keep_in_spool(
    queue: str, group: Sequence[Submission], error: EnqueueError, call: Call
) -> None:
    """Keep the messages in the spool; where that fails, the journal's error says so too."""
    spool = current_spool()
    fsync = settings.MAILQUEUE.DURABILITY == "fsync"
    try:
        spool.keep_messages(queue, [submission.entry for submission in group], fsync=fsync)
    except OSError as failure:
        text = f"; the spool {spool.directory} can't be written either: {failure}"
        raise _whole_truth(error, group, text) from failure
    if not isinstance(error, _LeftAlone):
        _left_alone_until[journal_url()] = time.monotonic() + _SECONDS_LEFT_ALONE
    for submission in group:
        call.accept(submission, submission.entry.id)
    count("spooled", len(group))
    text = "%d messages were kept in %s: %s"
    report(_log, text, len(group), spool.directory, error, level=logging.WARNING)
