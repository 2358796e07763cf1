"""As many messages, serialized, as are accepted together."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from email.message import Message
from typing import Any, NamedTuple

from mailqueue.conf import settings
from mailqueue.store.sealing import current_sealer

from . import payload
from .journal import Entry
from .options import Options, options_of
from .payload.blob import BlobCollector

# Messages that are serialized and accepted together: so many at first, and never more than so much.
# With more the workers would wait for something to do, or some of them would get nothing.
_AT_FIRST, _BYTES_AT_ONCE = 100, 32 * 1024**2
# Then a part of what was accepted before, up to BATCH_SIZE: what a task costs to begin is shared.
_PART_OF_BEFORE = 4


class Submission(NamedTuple):
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

    def rebuild(self) -> Any:
        """The message as a worker would send it: the same Message-ID and Date at each attempt."""
        text = current_sealer().open(self.entry.payload)
        return payload.loads(text, self.entry.blobs.__getitem__)


def portions(messages: Iterable[Any]) -> Iterator[list[Submission]]:
    """The messages that have recipients, serialized, as many at once as fit into bounded memory."""
    before, batch_size = 0, settings.MAILQUEUE.BATCH_SIZE
    portion = Portion(_AT_FIRST)
    for message in settings.MAILQUEUE.loosely(messages):
        recipients = list(message.recipients())
        if not recipients:
            continue
        portion.add(message, recipients)
        if portion.is_full:
            yield portion.messages
            before += len(portion.messages)
            portion.messages.clear()  # the caller has the list until it gets the next one
            portion = Portion(max(_AT_FIRST, min(before // _PART_OF_BEFORE, batch_size)))
    if portion.messages:
        yield portion.messages


class Portion:
    """Messages that are accepted together, so many at most."""

    def __init__(self, at_most: int) -> None:
        self.messages: list[Submission] = []
        self._at_most = at_most
        self._blobs = BlobCollector(settings.MAILQUEUE.BLOB_THRESHOLD)
        # What the message objects hold, each thing once: they are kept until they get their ids.
        self._held: dict[int, object] = {}
        self._size = 0

    def add(self, message: Any, recipients: Sequence[str]) -> None:
        """Serialize a message; what is wrong with it is an error now."""
        submission = prepare(message, recipients, self._blobs)
        self.messages.append(submission)
        self._size += len(submission.entry.payload)
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


def prepare(message: Any, recipients: Sequence[str], blobs: BlobCollector) -> Submission:
    """Serialize a message; what is wrong with it is an error now."""
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
    return Submission(message, options, entry, in_doubt)
