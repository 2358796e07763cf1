"""The messages that a task delivers: claimed a few at a time, and made ready one ahead."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

from . import payload
from .blobs import Blob, BlobCache
from .errors import JournalUnavailable
from .journal import Claim, Journal, Result
from .rendering import Outgoing

# So many at most wait, claimed, for those before them: what a dying worker leaves to its lease.
_CLAIM_AT_ONCE = 10
# Seconds after which a task takes no more than it names: other queues wait for the same worker.
_TAKES_FOR = 5.0
_blobs = BlobCache()  # one for the process: the next batch has the same brochure


@dataclass(frozen=True)
class Item:
    """A message as a task names it: by id, with the payload inline where it is small enough."""

    id: str
    payload: str = ""


class Batch:
    """The items of a task that are still to be sent, one turn after the other.

    After them come messages of its queue that no task names, as many as there is ``room`` for. If
    it ends with ``left`` above 0, so many still need a task.
    """

    def __init__(
        self,
        journal: Journal,
        items: Iterable[Item],
        commit: Callable[[Sequence[Claim], Callable[[], object] | None], Sequence[bool]],
        stopping: Callable[[], bool],
        room: int = 0,
    ) -> None:
        self.journal = journal
        self.commit = commit
        self.stopping = stopping
        self.held: dict[str, Claim] = {}  # claimed, and neither settled nor given back
        self._waiting = deque({item.id: item for item in items}.values())
        self._claimed: deque[ClaimedMessage] = deque()
        self.left = 0
        self._room = room
        self._takes_until: float | None = None

    def next(self) -> ClaimedMessage | None:
        """The next message, claimed where necessary; None at the end. Raises JournalUnavailable."""
        while not self._claimed:
            if self._waiting:
                self._claim()
            elif not self._take():
                return None
        return self._claimed.popleft()

    def late(self) -> ClaimedMessage | None:
        """The next message, where it came back only after the last had been looked at."""
        return self.next() if self._waiting or self._claimed else None

    def again(self, claim: Claim) -> None:
        """Claim that message once more, after those that are claimed already."""
        self._waiting.appendleft(Item(claim.id))

    def _claim(self) -> None:
        """Claim some. Those that aren't this worker's to send are passed over."""
        items = [self._waiting[n] for n in range(min(_CLAIM_AT_ONCE, len(self._waiting)))]
        texts = {item.id: item.payload for item in items}
        digests = [(id_, payload.digest(text) if text else "") for id_, text in texts.items()]
        claims, looked_at = self.journal.claim(digests)
        for _ in range(looked_at):
            self._waiting.popleft()
        self._add(claims, texts)

    def _take(self) -> bool:
        """Claim some that no task names. False: there are none, or no more are for this task."""
        begins = self._takes_until is None
        if self._takes_until is None:
            self._takes_until = time.monotonic() + _TAKES_FOR
        if not self._room or self.stopping() or time.monotonic() >= self._takes_until:
            return False
        limit = min(self._room, _CLAIM_AT_ONCE)
        claims, self.left = self.journal.take(limit, begins=begins)
        self._room -= len(claims)
        self._add(claims, {})
        return bool(claims)

    def _add(self, claims: Iterable[Claim], texts: Mapping[str, str]) -> None:
        self.held.update({claim.id: claim for claim in claims})
        self._claimed += [ClaimedMessage(self, c, c.payload or texts[c.id]) for c in claims]


class ClaimedMessage:
    """A message that is this worker's to send; it is rebuilt when it is first looked at."""

    def __init__(self, batch: Batch, claim: Claim, text: str) -> None:
        self.claim = claim
        self._batch = batch
        self._text = text

    @cached_property
    def outgoing(self) -> Outgoing:
        """The message, for those who are still to get it. Raises whatever is wrong with it."""
        left = tuple(address for address in self.recipients if address not in self.earlier)
        return Outgoing(self.claim.id, self._message, left)

    @cached_property
    def recipients(self) -> tuple[str, ...]:
        """All of its recipients, each once."""
        return tuple(dict.fromkeys(self._message.recipients()))

    @cached_property
    def earlier(self) -> Mapping[str, Result]:
        """The results of those recipients that earlier attempts have settled."""
        return self._batch.journal.results_of(self.claim)

    @cached_property
    def following(self) -> ClaimedMessage | None:
        """The message after this one. Raises JournalUnavailable."""
        return self._batch.next()

    def ahead(self) -> ClaimedMessage | None:
        """The message after this one, if it may be begun while this one lasts.

        Of what is wrong with that message, or with the journal, it raises nothing.
        """
        # One that may kill the worker does so alone, and a worker that is to stop begins nothing.
        if self.claim.is_suspect or self._batch.stopping():
            return None
        try:
            following = self.following
        except JournalUnavailable:
            return None
        if following is None or following.claim.is_suspect:
            return None
        try:
            following.outgoing  # noqa: B018 - rebuilt now; what is wrong shows at its own turn
        except Exception:  # noqa: BLE001
            return None
        return following

    def commit(
        self, count: int = 1, meanwhile: Callable[[], object] | None = None
    ) -> Sequence[bool]:
        """Whether it and those after it, ``count`` in all, may be sent."""
        claims = [message.claim for message in islice(self._and_after(), count)]
        return self._batch.commit(claims, meanwhile)

    def _and_after(self) -> Iterator[ClaimedMessage]:
        message: ClaimedMessage | None = self
        while message is not None:
            yield message
            message = message.following

    @cached_property
    def _message(self) -> Any:
        return payload.loads(self._batch.journal.sealer.open(self._text), self._blob)

    def _blob(self, name: str) -> Blob:
        return _blobs.get(name, self._batch.journal.blob)
