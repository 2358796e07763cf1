"""Messages on their way into the queue: accepted, kept through an outage, published."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from itertools import starmap
from typing import Any

from mailqueue.conf import settings
from mailqueue.conf.server import journal_url
from mailqueue.errors import EnqueueError, EnqueueUnknown, JournalUnavailable
from mailqueue.events import count, report
from mailqueue.mail.routing import delivery_backend

from .broker import producer_app
from .handover import for_backend
from .journal import Acceptance, open_journal
from .options import Priority
from .portion import Submission, portions
from .publisher import publish
from .spool import current_spool

_log = logging.getLogger(__name__)
# So few at once may join a task that waits; more get tasks of their own, for several workers.
_JOIN = 10
_SECONDS_LEFT_ALONE = 5.0
_left_alone_until: dict[str, float] = {}  # by the journal's URL, on the monotonic clock


class Producer:
    """Hands messages to the queue; ``queue`` names another one than the settings do."""

    def __init__(self, queue: str | None, *, fail_silently: bool) -> None:
        self._queue = queue
        self._fail_silently = fail_silently

    def send(self, messages: Iterable[Any]) -> int:
        """Accept the messages; return how many. The door, the queue backend, says what holds."""
        with settings.MAILQUEUE.steady():
            return self._send_all(messages)

    def _send_all(self, messages: Iterable[Any]) -> int:
        if settings.MAILQUEUE.CELERY_APP:
            producer_app()  # a wrong one is an error before anything is accepted
        accepted = 0
        for portion in portions(messages):
            try:
                accepted += self._send_portion(portion)
            except EnqueueError as error:
                if not self._fail_silently:
                    raise
                count("not_queued", len(portion))
                report(_log, "%d messages were not queued: %s", len(portion), error)
                break
        return accepted

    def _send_portion(self, portion: Sequence[Submission]) -> int:
        by_queue: dict[str, list[Submission]] = {}
        for submission in portion:
            queue = submission.options.queue or self._queue or settings.MAILQUEUE.QUEUE
            by_queue.setdefault(queue, []).append(submission)
        return sum(starmap(self._send_to, by_queue.items()))

    def _send_to(self, queue: str, group: Sequence[Submission]) -> int:
        start = time.monotonic()
        try:
            accepted = _accept(queue, group)
        except EnqueueError as error:
            return self._in_outage(queue, group, error)
        waiting: dict[Priority, list[tuple[str, str]]] = {}
        for submission, (id_, needs_task) in zip(group, accepted, strict=True):
            submission.message.mailqueue_id = id_
            if needs_task:
                place = waiting.setdefault(submission.options.priority, [])
                place.append((id_, submission.entry.payload))
        # A journal that took its time leaves none to wait for a broker: a timer will publish.
        if time.monotonic() - start < settings.MAILQUEUE.ENQUEUE_TIMEOUT / 2:
            for priority, messages in waiting.items():
                publish(queue, messages, priority)
        return len(group)

    def _in_outage(self, queue: str, group: Sequence[Submission], error: EnqueueError) -> int:
        choice = settings.MAILQUEUE.ON_OUTAGE
        if choice == "spool":
            return _keep_in_spool(queue, group, error)
        # What may have been accepted would be sent twice.
        refused = not isinstance(error, EnqueueUnknown)
        if choice == "send" and refused and all(one.may_go_directly for one in group):
            return self._send_directly(group, error)
        raise error

    def _send_directly(self, group: Sequence[Submission], error: EnqueueError) -> int:
        """Deliver in the caller, message by message, like a backend without a queue."""
        sent = 0
        backend = delivery_backend()
        try:
            backend.open()
            for submission in group:
                message = for_backend(submission.rebuild(), backend)
                sent += backend.send_messages([message]) or 0
                vars(submission.message).pop("_mailqueue_pending", None)
        except Exception as failure:
            failure.add_note(f"mailqueue delivered it directly, since {error}")
            if not self._fail_silently:
                raise failure from error
            count("not_queued", len(group) - sent)
            text = "%d messages were neither queued (%s) nor sent: %s"
            report(_log, text, len(group) - sent, error, failure)
        finally:
            backend.close()
            count("sent_directly", sent)
        report(_log, "%d messages were sent directly: %s", sent, error, level=logging.WARNING)
        return sent


class _LeftAlone(JournalUnavailable):
    """The journal was not asked, since it was away a moment ago."""


def _accept(queue: str, group: Sequence[Submission]) -> list[Acceptance]:
    config = settings.MAILQUEUE
    fsync = config.DURABILITY == "fsync"
    # A task takes as many as BATCH_SIZE, with those that it names.
    room = max(config.BATCH_SIZE - len(group), 0) if len(group) <= _JOIN else 0
    try:
        _refuse_in_outage()
        return open_journal(queue).accept([one.entry for one in group], fsync=fsync, room=room)
    except EnqueueError as error:
        # Some may have been accepted: the same objects keep their ids, so that sending them
        # again can't make second copies.
        for submission in group:
            in_doubt = submission.in_doubt or isinstance(error, EnqueueUnknown)
            submission.message._mailqueue_pending = submission.entry.id, in_doubt
        raise


def _refuse_in_outage() -> None:
    """Leave a journal alone that was away a moment ago: not every ``send()`` has to wait for it."""
    if settings.MAILQUEUE.ON_OUTAGE != "spool":
        return
    if time.monotonic() < _left_alone_until.get(journal_url(), 0):
        raise _LeftAlone("the journal was away a moment ago")


def _keep_in_spool(queue: str, group: Sequence[Submission], error: EnqueueError) -> int:
    """Keep the messages in the spool; where that fails, the journal's error says so too."""
    spool = current_spool()
    fsync = settings.MAILQUEUE.DURABILITY == "fsync"
    try:
        spool.keep_messages(queue, [submission.entry for submission in group], fsync=fsync)
    except OSError as failure:
        text = f"{error}; the spool {spool.directory} can't be written either: {failure}"
        raise type(error)(text, error.ids) from failure
    if not isinstance(error, _LeftAlone):
        _left_alone_until[journal_url()] = time.monotonic() + _SECONDS_LEFT_ALONE
    for submission in group:
        submission.message.mailqueue_id = submission.entry.id
        vars(submission.message).pop("_mailqueue_pending", None)
    count("spooled", len(group))
    text = "%d messages were kept in %s: %s"
    report(_log, text, len(group), spool.directory, error, level=logging.WARNING)
    return len(group)
