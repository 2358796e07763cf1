"""The messages that a task delivers: claimed a few at a time, and made ready one ahead."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from mailqueue.errors import JournalUnavailable
from mailqueue.queue import payload
from mailqueue.queue.journal import Claim, Journal, Result
from mailqueue.queue.payload.blob import Blob, BlobCache

from .envelope import Outgoing
from .fault import building

# So many wait together, claimed, for those before them: what a dying worker leaves to its lease.
_CLAIM_AT_ONCE = 8
# With fewer than these the next ones are asked for: the answer is there before they are needed.
_FEW = 3
# Seconds after which a task claims no more, and leaves to another one what it hasn't begun: other
# queues, and more urgent mail, wait for the same worker.
_LASTS = 10.0
# A task costs some milliseconds to begin, and one to whoever publishes it. So that of one `send()`
# which others have joined waits for more when all are sent: so many seconds, looking so often. What
# else waits for the same worker, such as other queues' mail, has its turn so long after it began to
# take what joined. Of other tasks there may be many, and then none of them must take its time.
_LINGERS, _LOOKS_EVERY, _LINGERS_UNTIL = 0.003, 0.001, 0.05
# Where fewer came than were asked for there are no more; so many seconds later there are several.
_GATHERS = 0.002
_blobs = BlobCache()  # one for the process: the next batch has the same brochure


@dataclass(frozen=True)
class Item:
    """A message as a task names it: by id, with the payload where that is within INLINE_LIMIT."""

    id: str
    payload: str = ""


class Batch:
    """The items of a task that are still to be sent, one turn after the other.

    After them come messages of its queue that joined a task, or that another one names, as many as
    there is ``room`` for. If it ends with ``left`` above 0, up to so many still need a task; so do
    those of the items in ``rest``.
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
        self.claims: dict[str, Claim] = {}  # claimed, and neither settled nor given back
        self._waiting = deque({item.id: item for item in items}.values())
        self._first = self._waiting[0].id if self._waiting else ""
        self._lingers = len(self._waiting) == 1
        self._claimed: deque[ClaimedMessage] = deque()
        self.left = 0
        self._room = room
        self._ends_at = math.inf
        self._takes_since: float | None = None
        self._gathers_until = 0.0
        self._asked: Callable[[], bool] | None = None  # for more, whose answer was not read yet

    def next(self) -> ClaimedMessage | None:
        """The next message, claimed where necessary; None at the end. Raises JournalUnavailable."""
        while not self._claimed:
            if not (self._collect() or self._ask()()):
                return None
        return self._claimed.popleft()

    @property
    def rest(self) -> list[str]:
        """The ids of those items that it hasn't come to."""
        return [item.id for item in self._waiting]

    def look_further(self) -> None:
        """Ask for more where few are claimed, to ``collect`` the answer a second later at most.

        The leases of what nobody has read yet are not prolonged.
        """
        if self._asked is not None or len(self._claimed) >= _FEW or self.stopping():
            return
        if time.monotonic() < self._gathers_until:  # unless it has nothing else to do
            return
        # What may kill the worker must take no others with it.
        if not any(claim.is_suspect for claim in self.claims.values()):
            with suppress(JournalUnavailable):  # it shows when more are needed
                self._asked = self._ask()

    def collect(self) -> None:
        """Learn what ``look_further`` has claimed."""
        if self._asked is not None:
            with suppress(JournalUnavailable):
                self._collect()

    def _collect(self) -> bool:
        asked, self._asked = self._asked, None
        return asked is not None and asked()

    def late(self) -> ClaimedMessage | None:
        """The next message, where it came back, or joined, after the last had been looked at."""
        if self._waiting or self._claimed:
            return self.next()
        since = self._takes_since or -math.inf
        until = min(since + _LINGERS_UNTIL, time.monotonic() + _LINGERS)
        while self._lingers and self._room and time.monotonic() < until and not self.stopping():
            time.sleep(_LOOKS_EVERY)
            message = self.next()
            if message is not None:
                return message
        return None

    def hurry(self, levels: int) -> None:
        """Claim what is more urgent than the rest to be next: the ``levels`` first priorities."""
        if any(claim.is_suspect for claim in self.claims.values()):
            return
        with suppress(JournalUnavailable):  # it shows when more are needed
            claims, _ = self.journal.take(_CLAIM_AT_ONCE, levels=levels)
            before = len(self._claimed)
            self._add(claims, {})
            self._claimed.rotate(len(self._claimed) - before)

    def leave(self) -> None:
        """Have nobody join this task any more, where it ends before its last item."""
        if self._takes_since is None:
            with suppress(JournalUnavailable):  # what has joined waits for the timer then
                _, self.left = self.journal.take(0, begins=self._first)

    def again(self, claim: Claim) -> None:
        """Claim that message once more, after those that are claimed already."""
        self._waiting.appendleft(Item(claim.id))

    def _ask(self) -> Callable[[], bool]:
        """Ask the journal for more; what is returned reads the answer: whether there were any."""
        return self._claim() if self._waiting else self._take()

    def _claim(self) -> Callable[[], bool]:
        """Claim some, while there is time. Those that aren't this worker's are passed over."""
        if self._is_over():
            return lambda: False
        items = [self._waiting.popleft() for _ in range(min(_CLAIM_AT_ONCE, len(self._waiting)))]
        texts = {item.id: item.payload for item in items}
        looked_at = 0

        def read_claims() -> bool:
            nonlocal looked_at
            try:
                claims, looked_at = claiming()
            finally:
                self._waiting.extendleft(reversed(items[looked_at:]))
            self._add(claims, texts)
            return True

        try:
            digests = [(id_, payload.digest(text) if text else "") for id_, text in texts.items()]
            claiming = self.journal.begin_claim(digests)
        except BaseException:
            self._waiting.extendleft(reversed(items))
            raise
        return read_claims

    def _take(self) -> Callable[[], bool]:
        """Claim some that joined a task, as long as there is room and time for them."""
        since = self._takes_since
        # The first time without room for any, too: from now on nobody is to join this task.
        found_none = since == -math.inf
        ends = since is not None and (found_none or not self._room or self._is_over())
        if ends or self.stopping():
            return lambda: False
        begins = self._first if since is None else ""
        taking = self.journal.begin_take(min(self._room, _CLAIM_AT_ONCE), begins=begins)

        def read_taken() -> bool:
            claims, self.left = taking()
            now = time.monotonic()
            if self._takes_since is None:
                # Where none has joined by now, those that come have a task of their own.
                self._takes_since = now if claims else -math.inf
            self._gathers_until = now + (_GATHERS if len(claims) < _CLAIM_AT_ONCE else 0)
            self._room -= len(claims)
            self._add(claims, {})
            return bool(claims)

        return read_taken

    def _is_over(self) -> bool:
        """Whether the task has had its time, which begins when this is asked first."""
        now = time.monotonic()
        is_over = now >= self._ends_at
        self._ends_at = min(self._ends_at, now + _LASTS)
        return is_over

    def _add(self, claims: Iterable[Claim], texts: Mapping[str, str]) -> None:
        self.claims.update({claim.id: claim for claim in claims})
        self._claimed += [ClaimedMessage(self, c, c.payload or texts[c.id]) for c in claims]


class ClaimedMessage:
    """A message that is this worker's to send; it is rebuilt when it is first looked at."""

    def __init__(self, batch: Batch, claim: Claim, text: str) -> None:
        self.claim = claim
        self._batch = batch
        self._text = text
        self.recipients: tuple[str, ...] = ()  # all of them, each once; known with `outgoing`

    @cached_property
    def outgoing(self) -> Outgoing:
        """The message, for those who are still to get it. Raises Unfit, or MachineTrouble."""
        with building():
            message = payload.loads(self._batch.journal.sealer.open(self._text), self._blob)
            self.recipients = tuple(dict.fromkeys(message.recipients()))
            earlier = self.earlier
        left = [address for address in self.recipients if address not in earlier]
        return Outgoing(self.claim.id, message, tuple(left))

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

    def look_further(self) -> None:
        """Have the journal asked for more messages; ``collect``, before long, reads the answer."""
        if not self.claim.is_suspect:
            self._batch.look_further()

    def collect(self) -> None:
        """Learn which messages came of ``look_further``."""
        self._batch.collect()

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

    def _blob(self, name: str) -> Blob:
        return _blobs.get(name, self._batch.journal.blob)
