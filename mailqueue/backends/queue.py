"""The queue backend: messages are accepted by the journal, and a worker delivers them."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable
from typing import Any

from .. import payload
from ..conf import settings
from ..errors import EnqueueError, ImproperlyConfigured
from ..journal import Entry, open_journal
from ..publisher import producer_app, publish
from ..reporting import report
from .base import BaseEmailBackend

_log = logging.getLogger(__name__)


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

        When it returns, the journal holds them all, and each has its id as ``mailqueue_id``. A
        message that can't be queued raises before any is accepted. Raises JournalUnavailable or
        EnqueueUnknown within about ``ENQUEUE_TIMEOUT``, or with ``fail_silently`` returns 0.
        """
        messages = [message for message in email_messages or () if message.recipients()]
        if not messages:
            return 0
        entries = [_entry(message) for message in messages]
        queue = self.queue or settings.MAILQUEUE.QUEUE
        fsync = settings.MAILQUEUE.DURABILITY == "fsync"
        app = producer_app()  # a wrong CELERY_APP is an error before anything is accepted
        try:
            open_journal(queue).accept(entries, fsync=fsync)
        except EnqueueError as error:
            # Some may have been accepted: the same objects keep their ids, so that sending them
            # again can't make second copies.
            _remember(messages, entries, "_mailqueue_pending_id")
            if not self.fail_silently:
                raise
            report(_log, "%d messages were not queued: %s", len(messages), error)
            return 0
        _remember(messages, entries, "mailqueue_id")
        publish(queue, [(entry.id, entry.payload) for entry in entries], app)
        return len(entries)


def _entry(message: Any) -> Entry:
    id_ = vars(message).pop("_mailqueue_pending_id", None) or secrets.token_hex(10)
    text = payload.dumps(message, id_)
    return Entry(id_, text, payload.digest(text), payload.summary(message))


def _remember(messages: Iterable[Any], entries: Iterable[Entry], attribute: str) -> None:
    for message, entry in zip(messages, entries, strict=True):
        setattr(message, attribute, entry.id)
