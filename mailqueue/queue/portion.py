"""As many messages, serialized, as are accepted together."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from email.message import Message
from typing import Any

from mailqueue.conf import settings
from mailqueue.store.sealing import current_sealer

from . import payload
from .call import Call
from .earlier import Likeness
from .journal import ACCEPT_AT_ONCE, Entry
from .options import options_of
from .payload.blob import BlobCollector
from .submission import Submission

# Messages that are serialized and accepted together: so many at first, and never more than so much.
# With more the workers would wait for something to do, or some of them would get nothing.
_AT_FIRST, _BYTES_AT_ONCE = 100, 32 * 1024**2
# Then a part of what was accepted before, up to BATCH_SIZE: what a task costs to begin is shared.
_PART_OF_BEFORE = 4
# What is kept of a list that is checked as a whole; what is beyond is serialized a second time.
_KEPT_AT_MOST, _ABOUT_A_MESSAGE = 64 * 1024**2, 1500  # bytes


def checked_portions(messages: Sequence[Any], call: Call, queue: str | None) -> Iterator[Portion]:
    """The portions of a list, of which each message can be queued, or else none is.

    What is small is serialized once. What is large is serialized to be checked, and once more when
    its turn comes, so that memory is bounded.
    """
    waiting = iter(messages)
    kept, size = deque[Portion](), 0
    for portion in portions(waiting, call, queue):
        kept.append(portion)
        size += portion.size + _ABOUT_A_MESSAGE * len(portion.messages)
        if size > _KEPT_AT_MOST:
            break
    rest = list(waiting)
    before = call.total = sum(len(portion.messages) for portion in kept)
    for portion in portions(iter(rest), None, queue) if rest else ():
        call.total += len(portion.messages)
    while kept:
        yield kept.popleft()
    if rest:
        yield from portions(iter(rest), call, queue, before)


def portions(
    messages: Iterator[Any], call: Call | None, queue: str | None, before: int = 0
) -> Iterator[Portion]:
    """The messages that have recipients, serialized, as many at once as fit into bounded memory.

    ``queue`` is that of messages that name none, unless the settings' is meant. ``call`` knows what
    earlier calls have left of them. ``before`` is the number of messages that came before.
    """
    portion = _portion_after(before)
    for message in messages:
        recipients = list(message.recipients())
        if not recipients:
            continue
        portion.add(message, recipients, call, queue)
        if portion.is_full:
            before += len(portion.messages)
            yield portion
            portion = _portion_after(before)
    if portion.messages:
        yield portion


def _portion_after(before: int) -> Portion:
    """The portion that comes after so many messages, which are one call to the journal at most."""
    at_most = min(settings.MAILQUEUE.BATCH_SIZE, ACCEPT_AT_ONCE)
    return Portion(max(_AT_FIRST, min(before // _PART_OF_BEFORE, at_most)))


class Portion:
    """Messages that are accepted together, so many at most."""

    def __init__(self, at_most: int) -> None:
        self.messages: list[Submission] = []
        self._at_most = at_most
        self._blobs = BlobCollector(settings.MAILQUEUE.BLOB_THRESHOLD)
        # What the message objects hold, each thing once: they are kept until they get their ids.
        self._held: dict[int, object] = {}
        self._size = 0

    def add(
        self, message: Any, recipients: Sequence[str], call: Call | None, queue: str | None
    ) -> None:
        """Serialize a message; what is wrong with it is an error now."""
        submission = _prepare(message, recipients, self._blobs, call, queue)
        self.messages.append(submission)
        self._size += len(submission.entry.payload)
        for content in _contents(message):
            if id(content) not in self._held:
                self._held[id(content)] = content
                self._size += _weight(content)

    def clear(self) -> None:
        """Let go of all that it holds, while the next portion is made."""
        self.messages.clear()
        self._held.clear()
        self._blobs = BlobCollector(0)

    @property
    def size(self) -> int:
        """About how many bytes the messages take, serialized and as objects."""
        return self._size + self._blobs.size

    @property
    def is_full(self) -> bool:
        """Whether there are as many as may be, or as much as fits into memory."""
        return len(self.messages) >= self._at_most or self.size > _BYTES_AT_ONCE


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


def _prepare(
    message: Any,
    recipients: Sequence[str],
    blobs: BlobCollector,
    call: Call | None,
    queue: str | None,
) -> Submission:
    """Serialize a message; what is wrong with it is an error now."""
    options = options_of(message, queue or settings.MAILQUEUE.QUEUE)
    id_, earlier = os.urandom(10).hex(), None
    dumped = payload.serialize(message, id_, blobs, recipients)
    if call and call.knows(message):
        now = Likeness(dumped.said.likeness, options, dumped.said.set_by)
        if now.set_by:
            second = payload.serialize(message, id_, blobs, recipients).said.likeness
            # One that renders the same each time is told by what it renders.
            now = now._replace(set_by=0) if second == now.content else now
        earlier = call.find_earlier(message, now)
        if earlier:
            id_ = earlier.id
            dumped = payload.serialize(message, id_, blobs, recipients)
    text = current_sealer().seal(dumped.text)
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
    return Submission(message, options, entry, dumped.said, earlier)
