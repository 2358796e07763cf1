"""The queue backend: messages are accepted by the journal, and a worker delivers them."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from email.message import Message
from itertools import starmap
from typing import Any, NamedTuple

from .. import payload
from ..blobs import BlobCollector
from ..conf import settings
from ..errors import EnqueueError, EnqueueUnknown, ImproperlyConfigured, JournalUnavailable
from ..journal import Accepted, Entry, open_journal
from ..mailers import delivery_backend
from ..options import Options, Priority, options_of
from ..publisher import producer_app, publish
from ..reporting import count, report
from ..sealing import current_sealer
from ..spool import current_spool
from ..urls import journal_url
from .base import BaseEmailBackend

_log = logging.getLogger(__name__)
# Messages that are serialized and accepted together: so many at first, and never more than so much.
# With more the workers would wait for something to do, or some of them would get nothing.
_AT_FIRST, _BYTES_AT_ONCE = 100, 32 * 1024**2
# Then a part of what was accepted before, up to BATCH_SIZE: what a task costs to begin is shared.
_PART_OF_BEFORE = 4
# So few at once may join a task that waits; more get tasks of their own, for several workers.
_JOIN = 10
_SECONDS_LEFT_ALONE = 5.0
_left_alone_until: dict[str, float] = {}  # by the journal's URL, on the monotonic clock


class EmailBackend(BaseEmailBackend):
    """Queue messages. ``queue`` names another queue than the settings do."""

    def __init__(
        self,
        fail_silently: bool = False,
        *,
        queue: str | None = None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> None:
        if username or password:
            raise ImproperlyConfigured(
                "credentials never travel through the queue: instead of auth_user and "
                "auth_password, give the worker EMAIL_HOST_USER and EMAIL_HOST_PASSWORD"
            )
        super().__init__(fail_silently=fail_silently, **kwargs)
        self.queue = queue

    def send_messages(self, email_messages: Iterable[Any]) -> int:
        """Accept the messages; return how many. Those without recipients are passed over.

        A generator is taken in portions, so that any number of messages passes through in bounded
        memory. Each portion, of 100 messages at first and later of up to ``BATCH_SIZE``, or of 32
        MiB, is accepted whole or, where one of its messages can't be queued, not at all. When it
        returns, the journal holds them all, and each has its id as ``mailqueue_id``. When the
        journal can't take them, ``ON_OUTAGE`` says what comes next: raise JournalUnavailable or
        EnqueueUnknown within about ``ENQUEUE_TIMEOUT`` (with ``fail_silently``, return how many
        were accepted before), keep them in the spool, or deliver them at once, which raises what
        the delivery backend raises.
        """
        with settings.MAILQUEUE.steady():
            return self._send_all(email_messages or ())

    def _send_all(self, messages: Iterable[Any]) -> int:
        if settings.MAILQUEUE.CELERY_APP:
            producer_app()  # a wrong one is an error before anything is accepted
        accepted = 0
        for portion in _portions(messages):
            try:
                accepted += self._send_portion(portion)
            except EnqueueError as error:
                if not self.fail_silently:
                    raise
                count("not_queued", len(portion))
                report(_log, "%d messages were not queued: %s", len(portion), error)
                break
        return accepted

    def _send_portion(self, portion: Sequence[_Outgoing]) -> int:
        by_queue: dict[str, list[_Outgoing]] = {}
        for outgoing in portion:
            queue = outgoing.options.queue or self.queue or settings.MAILQUEUE.QUEUE
            by_queue.setdefault(queue, []).append(outgoing)
        return sum(starmap(self._send_to, by_queue.items()))

    def _send_to(self, queue: str, group: Sequence[_Outgoing]) -> int:
        start = time.monotonic()
        try:
            accepted = _accepted(queue, group)
        except EnqueueError as error:
            return self._in_outage(queue, group, error)
        waiting: dict[Priority, list[tuple[str, str]]] = {}
        for outgoing, (id_, needs_task) in zip(group, accepted, strict=True):
            outgoing.message.mailqueue_id = id_
            if needs_task:
                place = waiting.setdefault(outgoing.options.priority, [])
                place.append((id_, outgoing.entry.payload))
        # A journal that took its time leaves none to wait for a broker: a timer will publish.
        if time.monotonic() - start < settings.MAILQUEUE.ENQUEUE_TIMEOUT / 2:
            for priority, messages in waiting.items():
                publish(queue, messages, priority)
        return len(group)

    def _in_outage(self, queue: str, group: Sequence[_Outgoing], error: EnqueueError) -> int:
        choice = settings.MAILQUEUE.ON_OUTAGE
        if choice == "spool":
            return _spooled(queue, group, error)
        # What may have been accepted would be sent twice.
        refused = not isinstance(error, EnqueueUnknown)
        if choice == "send" and refused and all(o.may_go_directly for o in group):
            return self._sent_directly(group, error)
        raise error

    def _sent_directly(self, group: Sequence[_Outgoing], error: EnqueueError) -> int:
        """Deliver in the caller, message by message, like a backend without a queue."""
        sent = 0
        backend = delivery_backend()
        try:
            backend.open()
            for outgoing in group:
                sent += backend.send_messages([outgoing.rebuilt()]) or 0
                vars(outgoing.message).pop("_mailqueue_pending", None)
        except Exception as failure:
            failure.add_note(f"mailqueue delivered it directly, since {error}")
            if not self.fail_silently:
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


class _Outgoing(NamedTuple):
    """A message on its way into the journal."""

    message: Any
    options: Options
    entry: Entry
    in_doubt: bool  # whether an earlier send() of the same object may have been accepted

    @property
    def waits(self) -> bool:
        """Whether it is to be sent later; then the timer publishes its task."""
        return self.options.send_at is not None and self.options.send_at > datetime.now(UTC)

    @property
    def is_late(self) -> bool:
        """Whether it is too late to send it; then the journal notes it as expired."""
        return self.options.expires_at is not None and self.options.expires_at <= datetime.now(UTC)

    @property
    def may_go_directly(self) -> bool:
        """Whether sending it now, past the journal, can't make a second copy or break a promise.

        Without the journal nobody knows whether another message stands for its idempotency key.
        """
        return not (
            self.in_doubt or self.waits or self.is_late or self.options.idempotency_key is not None
        )

    def rebuilt(self) -> Any:
        """The message as a worker would send it: the same Message-ID and Date at each attempt."""
        text = current_sealer().open(self.entry.payload)
        return payload.loads(text, self.entry.blobs.__getitem__)


def _accepted(queue: str, group: Sequence[_Outgoing]) -> list[Accepted]:
    options = settings.MAILQUEUE
    fsync = options.DURABILITY == "fsync"
    # A task takes as many as BATCH_SIZE, with those that it names.
    room = max(options.BATCH_SIZE - len(group), 0) if len(group) <= _JOIN else 0
    try:
        _refuse_in_outage()
        return open_journal(queue).accept([o.entry for o in group], fsync=fsync, room=room)
    except EnqueueError as error:
        # Some may have been accepted: the same objects keep their ids, so that sending them
        # again can't make second copies.
        for outgoing in group:
            in_doubt = outgoing.in_doubt or isinstance(error, EnqueueUnknown)
            outgoing.message._mailqueue_pending = outgoing.entry.id, in_doubt
        raise


def _refuse_in_outage() -> None:
    """Leave a journal alone that was away a moment ago: not every ``send()`` has to wait for it."""
    if settings.MAILQUEUE.ON_OUTAGE != "spool":
        return
    if time.monotonic() < _left_alone_until.get(journal_url(), 0):
        raise _LeftAlone("the journal was away a moment ago")


def _spooled(queue: str, group: Sequence[_Outgoing], error: EnqueueError) -> int:
    """Keep the messages in the spool; where that fails, the journal's error says so too."""
    spool = current_spool()
    fsync = settings.MAILQUEUE.DURABILITY == "fsync"
    try:
        spool.keep_messages(queue, [outgoing.entry for outgoing in group], fsync=fsync)
    except OSError as failure:
        text = f"{error}; the spool {spool.directory} can't be written either: {failure}"
        raise type(error)(text, error.ids) from failure
    if not isinstance(error, _LeftAlone):
        _left_alone_until[journal_url()] = time.monotonic() + _SECONDS_LEFT_ALONE
    for outgoing in group:
        outgoing.message.mailqueue_id = outgoing.entry.id
        vars(outgoing.message).pop("_mailqueue_pending", None)
    count("spooled", len(group))
    text = "%d messages were kept in %s: %s"
    report(_log, text, len(group), spool.directory, error, level=logging.WARNING)
    return len(group)


def _portions(messages: Iterable[Any]) -> Iterator[list[_Outgoing]]:
    """The messages that have recipients, serialized, as many at once as fit into bounded memory."""
    before, batch_size = 0, settings.MAILQUEUE.BATCH_SIZE
    portion = _Portion(_AT_FIRST)
    for message in settings.MAILQUEUE.loosely(messages):
        recipients = list(message.recipients())
        if not recipients:
            continue
        portion.add(message, recipients)
        if portion.is_full:
            yield portion.messages
            before += len(portion.messages)
            portion.messages.clear()  # the caller has the list until it gets the next one
            portion = _Portion(max(_AT_FIRST, min(before // _PART_OF_BEFORE, batch_size)))
    if portion.messages:
        yield portion.messages


class _Portion:
    """Messages that are accepted together, so many at most."""

    def __init__(self, at_most: int) -> None:
        self.messages: list[_Outgoing] = []
        self._at_most = at_most
        self._blobs = BlobCollector(settings.MAILQUEUE.BLOB_THRESHOLD)
        # What the message objects hold, each thing once: they are kept until they get their ids.
        self._held: dict[int, object] = {}
        self._size = 0

    def add(self, message: Any, recipients: Sequence[str]) -> None:
        """Serialize a message; what is wrong with it is an error now."""
        outgoing = _prepared(message, recipients, self._blobs)
        self.messages.append(outgoing)
        self._size += len(outgoing.entry.payload)
        for content in _contents(message):
            if id(content) not in self._held:
                self._held[id(content)] = content
                self._size += _weight(content)

    @property
    def is_full(self) -> bool:
        """Whether there are as many as may be, or as much as fits into memory."""
        size = self._size + self._blobs.size
        return len(self.messages) >= self._at_most or size > _BYTES_AT_ONCE


def _contents(message: Any) -> list[object]:
    """What may be large in a message: its body, its alternatives, its attachments."""
    found = [getattr(message, "body", None)]
    for alternative in getattr(message, "alternatives", None) or ():
        found.append(alternative[0])
    for part in getattr(message, "attachments", None) or ():
        found.append(part if isinstance(part, Message) else part[1])
    return found


def _weight(content: object) -> int:
    """About how many bytes of memory a content takes."""
    if type(content) is str:
        return sys.getsizeof(content)
    if isinstance(content, Message):
        return sum(sys.getsizeof(part.get_payload()) for part in content.walk())
    if isinstance(content, memoryview):
        return content.nbytes
    if hasattr(content, "message"):
        return sum(map(_weight, _contents(content)))
    return sys.getsizeof(content)


def _prepared(message: Any, recipients: Sequence[str], blobs: BlobCollector) -> _Outgoing:
    options = options_of(message)
    id_, in_doubt = vars(message).pop("_mailqueue_pending", None) or (os.urandom(10).hex(), False)
    text = current_sealer().seal(payload.dumps(message, id_, blobs, recipients))
    entry = Entry(
        id=id_,
        payload=text,
        digest=payload.digest(text),
        summary=payload.summary(message, recipients),
        send_at=options.send_at,
        expires_at=options.expires_at,
        idempotency_key=options.idempotency_key,
        blobs=blobs.used,
        priority=options.priority,
    )
    return _Outgoing(message, options, entry, in_doubt)
