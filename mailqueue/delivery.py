"""Deliver a batch, message by message: claim, rebuild, send, decide, settle."""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from . import payload
from .blobs import BlobCache
from .connection import Connection
from .errors import JournalUnavailable, MailqueueError
from .housekeeper import housekeeper
from .journal import Claim, Journal, Result, Settlement, State
from .outcome import Outcome, ServerTrouble, StaleClaim
from .rendering import Outgoing
from .retry import RetryPolicy, decide
from .sealing import KeyMissing

_log = logging.getLogger(__name__)
_blobs = BlobCache()  # one for the process: the next batch has the same brochure
# So many at most wait, claimed, for those before them: what a dying worker leaves to its lease.
_CLAIM_AT_ONCE = 10
# Seconds for which a result waits for the journal to come back. The message is committing for
# longer than that, so no other worker touches it meanwhile.
_PATIENCE = 300.0
_WITHOUT_KEY = 60.0  # seconds until a message whose key is missing is looked at again
_SECONDS_BETWEEN_TRIES = 1.0


@dataclass(frozen=True)
class Item:
    """A message as a task names it: by id, with the payload inline where it is small enough."""

    id: str
    payload: str = ""


class Delivery:
    """One worker's way of delivering what tasks name."""

    def __init__(
        self,
        journal: Journal,
        connection: Connection,
        policy: RetryPolicy,
        *,
        worker: str = "",
        stopping: Callable[[], bool] = lambda: False,
        chance: Callable[[], float] = random.random,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self._journal = journal
        self._connection = connection
        self._policy = policy
        self._worker = worker
        self._stopping = stopping
        self._chance = chance
        self._pause = pause

    def run(self, items: Iterable[Item]) -> Counter[str]:
        """Deliver the items that are still to be sent; return how many came to which state.

        Items that are not this worker's to send (sent already, claimed by another, unknown) are
        passed over. When the worker is to stop or the server is in trouble, the rest stays queued.
        """
        waiting = list({item.id: item for item in items}.values())
        tally: Counter[str] = Counter()
        while waiting and not self._stopping():
            batch = waiting[:_CLAIM_AT_ONCE]
            inline = {item.id: item.payload for item in batch}
            digests = [(id_, payload.digest(text) if text else "") for id_, text in inline.items()]
            claims, looked_at = self._journal.claim(digests)
            with self._leases_kept(claims):
                tally.update(self._deliver_claims(claims, inline))
            if self._connection.pause:
                break
            waiting = waiting[looked_at:]
        return tally

    @contextmanager
    def _leases_kept(self, claims: Sequence[Claim]) -> Iterator[None]:
        def duty() -> None:
            self._journal.renew(claims)

        housekeeper.add(duty)
        try:
            yield
        finally:
            housekeeper.remove(duty)

    def _deliver_claims(self, claims: Sequence[Claim], inline: dict[str, str]) -> Iterator[str]:
        for position, claim in enumerate(claims):
            if self._stopping() or self._connection.pause:
                self._give_back(claims[position:], "")
                return
            try:
                yield self._deliver(claim, claim.payload or inline[claim.id])
            except ServerTrouble as trouble:
                _log.warning("the mail server is in trouble: %s", trouble.reply)
                self._give_back(claims[position:], trouble.reply)
                return

    def _deliver(self, claim: Claim, text: str) -> str:
        """Deliver one claimed message and record what came of it."""
        try:
            message = payload.loads(self._journal.sealer.open(text), self._blob)
            recipients = tuple(dict.fromkeys(message.recipients()))
            earlier = self._journal.results_of(claim)
            to_be_tried = tuple(address for address in recipients if address not in earlier)
            outgoing = Outgoing(claim.id, message, to_be_tried)
            outcome = self._connection.deliver(outgoing, lambda: self._journal.commit(claim))
        except StaleClaim:
            _log.warning("message %s was taken over by another worker before its end", claim.id)
            return "stale"
        except (ServerTrouble, JournalUnavailable):
            raise
        except KeyMissing as error:
            return self._put_off(claim, error)
        except Exception as error:  # noqa: BLE001 - one bad message must not stop the others
            return self._settle(claim, self._undeliverable(claim, error))
        return self._settle(claim, self._decide(claim, outcome, earlier, recipients))

    def _blob(self, name: str) -> str:
        return _blobs.get(name, self._journal.blob)

    def _decide(
        self,
        claim: Claim,
        outcome: Outcome,
        earlier: Mapping[str, Result],
        recipients: Sequence[str],
    ) -> Settlement:
        return decide(
            outcome,
            earlier,
            recipients,
            tries=claim.tries,
            age=claim.age,
            policy=self._policy,
            chance=self._chance(),
        )

    def _undeliverable(self, claim: Claim, error: Exception) -> Settlement:
        """A message that can't be rebuilt or rendered fails at once; no retry would mend it."""
        reason = str(error) if isinstance(error, MailqueueError) else _described(error)
        _log.error("message %s can't be sent: %s", claim.id, reason)
        try:
            earlier = self._journal.results_of(claim)
        except (MailqueueError, ValueError):
            earlier = {}  # unreadable too
        return Settlement(State.FAILED, reason, earlier)

    def _put_off(self, claim: Claim, error: KeyMissing) -> str:
        """A missing key is our own mistake: the message waits until that is mended."""
        _log.error("message %s can't be read: %s", claim.id, error)
        self._journal.give_back(claim, _WITHOUT_KEY, str(error))
        return State.RETRYING.value

    def _settle(self, claim: Claim, settlement: Settlement) -> str:
        if not self._recorded(claim, settlement):
            _log.warning("message %s: its claim ended before its result was recorded", claim.id)
            return "stale"
        _log.info(
            "message %s: %s after attempt %d: %s",
            claim.id, settlement.state, claim.attempt, settlement.reply,
        )  # fmt: skip
        return settlement.state.value

    def _recorded(self, claim: Claim, settlement: Settlement) -> bool:
        """Record a result, and insist: until it is on record, no further message is begun."""
        patience = _PATIENCE
        while True:
            try:
                return self._journal.settle(claim, settlement, self._worker)
            except JournalUnavailable as error:
                if patience <= 0 or self._stopping():
                    raise
                _log.warning("message %s: its result waits for the journal: %s", claim.id, error)
                self._pause(_SECONDS_BETWEEN_TRIES)
                patience -= _SECONDS_BETWEEN_TRIES

    def _give_back(self, claims: Sequence[Claim], reply: str) -> None:
        for claim in claims:
            self._journal.give_back(claim, self._connection.pause, reply)


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
