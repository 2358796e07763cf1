"""The queue backend: messages are accepted by the journal, and a worker delivers them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mailqueue.errors import ImproperlyConfigured
from mailqueue.queue.accepted import Accepted
from mailqueue.queue.producer import Producer

from .base import BaseEmailBackend


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

    def send_messages(self, email_messages: Iterable[Any]) -> Accepted:
        """Accept the messages; return how many, and which: the number has their ``ids``.

        Those without recipients are passed over.

        A generator is taken in portions, so that any number of messages passes through in bounded
        memory. Each portion, of 100 messages at first and later of up to ``BATCH_SIZE``, or of 32
        MiB, is accepted whole or, where one of its messages can't be queued, not at all. When it
        returns, the journal holds them all, and each has its id as ``mailqueue_id``. When the
        journal can't take them, ``ON_OUTAGE`` says what comes next: raise JournalUnavailable or
        EnqueueUnknown within about ``ENQUEUE_TIMEOUT`` (with ``fail_silently``, return how many
        were accepted before), keep them in the spool, or deliver them at once, which raises what
        the delivery backend raises.
        """
        producer = Producer(self.queue, fail_silently=self.fail_silently)
        return producer.send(email_messages or ())
