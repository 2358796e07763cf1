"""The queue backend: messages are accepted by the journal, and a worker delivers them."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from celery import Celery

from .. import payload
from ..blobs import BlobCollector
from ..conf import settings
from ..errors import EnqueueError, ImproperlyConfigured
from ..journal import Entry, open_journal
from ..options import Options, Priority, options_of
from ..publisher import producer_app, publish
from ..reporting import report
from ..sealing import current_sealer
from .base import BaseEmailBackend

_log = logging.getLogger(__name__)
# Messages that are serialized and accepted together: at most so many, and so much.
_AT_ONCE, _BYTES_AT_ONCE = 500, 32 * 1024**2


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
        memory. Each portion, of up to 500 messages or 32 MiB, is accepted whole or, where one of
        its messages can't be queued, not at all. When it returns, the journal holds them all, and
        each has its id as ``mailqueue_id``. Raises JournalUnavailable or EnqueueUnknown within
        about ``ENQUEUE_TIMEOUT``, or with ``fail_silently`` returns how many were accepted before.
        """
        app = producer_app()  # a wrong CELERY_APP is an error before anything is accepted
        accepted = 0
        for portion in _portions(email_messages or ()):
            try:
                self._send_portion(portion, app)
            except EnqueueError as error:
                if not self.fail_silently:
                    raise
                report(_log, "%d messages were not queued: %s", len(portion), error)
                break
            accepted += len(portion)
        return accepted

    def _send_portion(self, portion: Sequence[_Outgoing], app: Celery) -> None:
        by_queue: dict[str, list[_Outgoing]] = {}
        for outgoing in portion:
            queue = outgoing.options.queue or self.queue or settings.MAILQUEUE.QUEUE
            by_queue.setdefault(queue, []).append(outgoing)
        for queue, group in by_queue.items():
            self._send_to(queue, group, app)

    def _send_to(self, queue: str, group: Sequence[_Outgoing], app: Celery) -> None:
        fsync = settings.MAILQUEUE.DURABILITY == "fsync"
        try:
            accepted = open_journal(queue).accept([o.entry for o in group], fsync=fsync)
        except EnqueueError:
            # Some may have been accepted: the same objects keep their ids, so that sending them
            # again can't make second copies.
            for outgoing in group:
                outgoing.message._mailqueue_pending_id = outgoing.entry.id
            raise
        waiting: dict[Priority, list[tuple[str, str]]] = {}
        for outgoing, (id_, is_new) in zip(group, accepted, strict=True):
            outgoing.message.mailqueue_id = id_
            if is_new and not outgoing.waits:
                place = waiting.setdefault(outgoing.options.priority, [])
                place.append((id_, outgoing.entry.payload))
        for priority, messages in waiting.items():
            publish(queue, messages, app, priority)


@dataclass(frozen=True)
class _Outgoing:
    """A message on its way into the journal."""

    message: Any
    options: Options
    entry: Entry

    @property
    def waits(self) -> bool:
        """Whether it is to be sent later; then the timer publishes its task."""
        return self.options.send_at is not None and self.options.send_at > datetime.now(UTC)


def _portions(messages: Iterable[Any]) -> Iterator[list[_Outgoing]]:
    """The messages that have recipients, serialized, as many at once as fit into bounded memory."""
    addressed = (message for message in messages if message.recipients())
    while True:
        blobs = BlobCollector(settings.MAILQUEUE.BLOB_THRESHOLD)
        portion: list[_Outgoing] = []
        size = 0
        for message in addressed:
            portion.append(_prepared(message, blobs))
            size += len(portion[-1].entry.payload)
            if len(portion) == _AT_ONCE or size + blobs.size > _BYTES_AT_ONCE:
                break
        if not portion:
            return
        yield portion


def _prepared(message: Any, blobs: BlobCollector) -> _Outgoing:
    options = options_of(message)
    id_ = vars(message).pop("_mailqueue_pending_id", None) or secrets.token_hex(10)
    text = current_sealer().seal(payload.dumps(message, id_, blobs))
    entry = Entry(
        id=id_,
        payload=text,
        digest=payload.digest(text),
        summary=payload.summary(message),
        send_at=options.send_at,
        expires_at=options.expires_at,
        idempotency_key=options.idempotency_key,
        blobs=blobs.used,
        priority=options.priority,
    )
    return _Outgoing(message, options, entry)
