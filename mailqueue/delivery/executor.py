"""Deliver a batch, message by message: claim, rebuild, send, decide, settle."""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from mailqueue.errors import ImproperlyConfigured, JournalUnavailable, MailqueueError
from mailqueue.queue.journal import Claim, Journal, SettledClaim, Settlement
from mailqueue.queue.spool import current_spool
from mailqueue.state import State
from mailqueue.store.sealing import KeyMissing

from . import faultpoint
from .batch import Batch, ClaimedMessage, Item
from .connection import Connection
from .fault import machine_trouble, reason_of
from .housekeeper import housekeeper
from .mishap import Mishaps
from .outcome import Outcome
from .retry import RetryPolicy, decide, fail_rest
from .trouble import MachineTrouble, ServerTrouble, StaleClaim, Unexplained, Unfit, Withheld

_log = logging.getLogger(__name__)
# Seconds for which a result waits for the journal to come back. The message is committing for
# longer than that, so no other worker touches it meanwhile.
_PATIENCE = 300.0
_WITHOUT_KEY = 60.0  # seconds until a message whose key is missing is looked at again
_SECONDS_BETWEEN_TRIES = 1.0


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
        gives_way: Callable[[], bool] = lambda: False,
        chance: Callable[[], float] = random.random,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self._journal = journal
        self._connection = connection
        self._policy = policy
        self._worker = worker
        self._mishaps = Mishaps(journal, connection, policy, worker)
        self._in_hand: Claim | None = None
        self._stopping = stopping
        self._gives_way = gives_way
        self._chance = chance
        self._pause = pause
        # How many messages that joined a task still wait in the queue, and which items do.
        self.left = 0
        self.rest: list[str] = []
        # The newest results, where the next messages' commit will take them to the journal.
        self._unrecorded: list[SettledClaim] = []
        # What is on record, and whether it came in time, until there is time to tell the log.
        self._unreported: list[tuple[SettledClaim, bool]] = []
        # The claims whose messages' ends may have been sent, until their results are known.
        self._committed: dict[str, Claim] = {}
        self._stale: set[str] = set()  # tokens of claims that another worker has taken over
        self._patience = _PATIENCE
        self._has_delivered = False  # each task brings at least one message further
        self._urgent = 0  # priorities of which messages wait that go before the next one

    def run(self, items: Iterable[Item], room: int = 0) -> Counter[str]:
        """Deliver the items that are still to be sent; return how many came to which state.

        After them come messages that joined a task, as many as there is ``room`` for. Items that
        are not this worker's to send (sent already, claimed by another, unknown) are passed over.
        When the worker is to stop or to do something else, or the server or this machine is in
        trouble, the rest stays queued.
        """
        tally: Counter[str] = Counter()
        batch = Batch(self._journal, items, self._commit, self._is_to_end, room)
        with self._mishaps.resting(), self._keep_leases(batch), self._record_all(batch):
            message = None if self._stopping() or self._connection.pause else batch.next()
            while message is not None:
                if self._is_to_end() and not (self._committed or self._has_begun(message)):
                    break
                state = self._deliver(batch, message)
                if not self._unrecorded:  # what comes next may take its time
                    batch.collect()
                if state is None:
                    break
                tally[state] += 1
                self._has_delivered = True
                self._hurry(batch)
                message = message.following or batch.late()
            if not self._stopping():
                batch.leave()
        self.left = batch.left
        self.rest += batch.rest
        return tally

    def _is_to_end(self) -> bool:
        return self._stopping() or (self._has_delivered and self._gives_way())

    def _hurry(self, batch: Batch) -> None:
        levels, self._urgent = self._urgent, 0
        if levels and not self._is_to_end():
            batch.hurry(levels)

    @contextmanager
    def _keep_leases(self, batch: Batch) -> Iterator[None]:
        def duty() -> None:
            self._journal.renew(list(batch.claims.values()))

        try:
            housekeeper.add(duty)
            yield
        finally:
            housekeeper.remove(duty)

    @contextmanager
    def _record_all(self, batch: Batch) -> Iterator[None]:
        """At the end, however it comes, record the newest results and give back what is left."""
        try:
            yield
        except BaseException as error:
            # A signal to a process of the pool, say, ends it in the middle of waiting.
            doubt = f"the worker was stopped after the final dot: {reason_of(error)}"
            with suppress(JournalUnavailable):
                if not isinstance(error, Exception):
                    self._lose_message_in_hand(batch, error, doubt)
                self._finish(batch, "", doubt)
            raise
        self._finish(batch, "")

    def _finish(self, batch: Batch, reply: str, doubt: str = "nobody read on") -> None:
        """Record what is known. What may have been sent is in ``doubt``, the rest goes back."""
        batch.collect()
        for claim in self._committed.values():
            batch.claims.pop(claim.id, None)
            self._unrecorded.append(SettledClaim(claim, self._in_doubt(claim, doubt), self._worker))
        self._committed.clear()
        self._record()
        try:
            for claim in list(batch.claims.values()):
                self._journal.give_back(claim, self._connection.pause, reply)
                self.rest.append(claim.id)
                del batch.claims[claim.id]
        except JournalUnavailable:
            self._give_back_later(list(batch.claims.values()))
            batch.claims.clear()
            raise

    def _give_back_later(self, claims: list[Claim]) -> None:
        """Try until their leases end, which would count as a lost worker."""
        ends = time.monotonic() + self._journal.policy.lease

        def duty() -> None:
            with suppress(JournalUnavailable):
                while claims and time.monotonic() < ends:
                    self._journal.give_back(claims[-1])
                    claims.pop()
                housekeeper.remove(duty)

        housekeeper.add(duty)

    def _lose_message_in_hand(self, batch: Batch, error: BaseException, doubt: str) -> None:
        """The process ends: whoever's code ended it, that counts as though it had been killed."""
        claim, self._in_hand = self._in_hand, None
        if claim is None or claim not in (*batch.claims.values(), *self._committed.values()):
            return
        was_committed = self._committed.pop(claim.id, None) is not None
        batch.claims.pop(claim.id, None)
        stopped = f"the worker was stopped while sending: {type(error).__name__}"
        self._journal.lose(claim, doubt if was_committed else stopped)

    def _has_begun(self, message: ClaimedMessage | None) -> bool:
        if message is None:
            return False
        try:
            return self._connection.has_begun(message.outgoing)
        except Exception:  # noqa: BLE001 - it can't be rebuilt
            return False

    def _deliver(self, batch: Batch, message: ClaimedMessage) -> str | None:
        """Deliver one message and see to it that the result is recorded; None ends the batch."""
        claim = message.claim
        try:
            if claim.token in self._stale:
                raise StaleClaim
            self._in_hand = claim
            outcome = self._connection.deliver(message)
        except StaleClaim:
            _log.warning("message %s was taken over by another worker before its end", claim.id)
            batch.claims.pop(claim.id, None)
            return "stale"
        except ServerTrouble as trouble:
            _log.warning("%s is in trouble: %s", self._connection.name, trouble.reply)
            self._committed.pop(claim.id, None)  # it was surely not accepted
            self._finish(batch, trouble.reply, f"no reply to its end: {trouble.reply}")
            return None
        except JournalUnavailable:
            raise
        except KeyMissing as error:
            _log.error("message %s can't be read: %s", claim.id, error)
            return self._put_off(batch, claim, _WITHOUT_KEY, str(error))
        except Withheld as refusal:
            _log.warning("message %s is refused, and waits: %s", claim.id, refusal.reply)
            return self._put_off(batch, claim, refusal.wait, refusal.reply)
        except Exception as error:  # noqa: BLE001 - one bad message must not stop the others
            return self._judge_error(batch, message, error)
        self._mishaps.note_recovery()
        return self._settle(batch, message, self._decide(message, outcome))

    def _decide(self, message: ClaimedMessage, outcome: Outcome) -> Settlement:
        return decide(
            outcome,
            message.earlier,
            message.recipients,
            tries=message.claim.tries,
            age=message.claim.age,
            policy=self._policy,
            chance=self._chance(),
        )

    def _judge_error(self, batch: Batch, message: ClaimedMessage, error: Exception) -> str | None:
        """Do by the message as the error says whose fault it is; None ends the batch."""
        claim, reason = message.claim, reason_of(error)
        # What was handed over to a foreign backend may be handed over again, at its pace.
        is_told = isinstance(error, MachineTrouble | Unexplained)
        if claim.id in self._committed and not is_told:
            _log.error("message %s: its end is in doubt: %s", claim.id, reason)
            return self._settle(batch, message, self._in_doubt(claim, reason))
        if isinstance(error, Unfit):
            return self._settle(batch, message, self._undeliverable(message, reason))
        handed_over = self._committed.pop(claim.id, None) is not None
        trouble = machine_trouble(error)
        is_machines = trouble is not None or isinstance(error, OSError)
        if is_machines:
            reason = trouble.reply if trouble is not None else reason
            wait = self._mishaps.meet_machine_trouble(claim, reason, handed_over)
        else:
            wait = self._mishaps.meet_unexplained(claim, reason, handed_over)
        if wait is None:
            state = self._settle(batch, message, self._undeliverable(message, reason))
        else:
            state = self._put_off(batch, claim, wait, reason)
        if not is_machines:
            return state
        self._finish(batch, "", f"no reply to its end: {reason}")
        return None

    def _undeliverable(self, message: ClaimedMessage, reason: str) -> Settlement:
        """A message that can't be rebuilt or rendered fails at once; no retry would mend it."""
        _log.error("message %s can't be sent: %s", message.claim.id, reason)
        try:
            earlier = message.earlier
        except (MailqueueError, ValueError):
            earlier = {}  # unreadable too
        return fail_rest(reason, earlier, message.recipients)

    def _in_doubt(self, claim: Claim, reason: str) -> Settlement:
        """A message whose end may have been sent, and whose reply nobody will read."""
        earlier = self._journal.results_of(claim)
        return Settlement(State.UNCERTAIN, reason, earlier, self._policy.doubt)

    def _put_off(self, batch: Batch, claim: Claim, wait: float, reply: str) -> str:
        """For our own mistake, or what may be one, the message waits until that is mended."""
        self._committed.pop(claim.id, None)  # it was refused
        self._journal.give_back(claim, wait, reply)
        batch.claims.pop(claim.id, None)
        return State.RETRYING.value

    # -- the record

    def _settle(self, batch: Batch, message: ClaimedMessage, settlement: Settlement) -> str:
        """Record the result now, or with the next messages' commit where that is about to come."""
        claim = message.claim
        self._committed.pop(claim.id, None)
        batch.claims.pop(claim.id, None)
        self._unrecorded.append(SettledClaim(claim, settlement, self._worker))
        if settlement.state is State.QUEUED:
            self._record()
            batch.again(claim)
        elif not self._goes_on_with(message):
            self._record()
        return settlement.state.value

    def _goes_on_with(self, message: ClaimedMessage) -> bool:
        """Whether whatever is done next after that message records its result as well."""
        # Looked for only where it has been looked for already: the result comes first.
        following = vars(message).get("following")
        # One that has taken a worker down may do so again, as soon as it is rebuilt.
        if following is None or following.claim.is_suspect:
            return False
        try:
            is_ready = self._connection.is_ready(following.outgoing)
        except Exception:  # noqa: BLE001 - it can't be rebuilt
            return False
        return is_ready and (not self._is_to_end() or self._has_begun(following))

    def _commit(
        self, claims: Sequence[Claim], meanwhile: Callable[[], object] | None = None
    ) -> Sequence[bool]:
        """Record the results so far, and ask which of these messages' ends may be sent."""
        if not claims:
            self._record()
            return []
        for claim in claims:  # also one that a server has sent back since it was committed
            self._committed.pop(claim.id, None)

        def while_it_travels() -> None:
            self._report()
            if meanwhile is not None:
                meanwhile()

        try:
            advanced = self._journal.advance(self._unrecorded, claims, while_it_travels)
        except JournalUnavailable:
            if not (self._committed and self._unrecorded):
                raise
            self._record()  # insists: what is under way must not be left for this
            return self._commit(claims, meanwhile)
        self._urgent = advanced.urgent
        for claim, may_be_sent in zip(claims, advanced.may_commit, strict=True):
            if may_be_sent:
                self._committed[claim.id] = claim
            else:
                self._stale.add(claim.token)
        self._note_recorded(advanced.recorded)
        return advanced.may_commit

    def _record(self) -> None:
        """Record the newest results, and insist: until they are, nothing more is begun."""
        self._report()
        while self._unrecorded:
            try:
                self._note_recorded(self._journal.advance(self._unrecorded, [])[0])
                self._report()
            except JournalUnavailable as error:
                if self._patience <= 0 or self._stopping():
                    self._spool()
                    raise
                ids = ", ".join(settled.claim.id for settled in self._unrecorded)
                _log.warning("message %s: its result waits for the journal: %s", ids, error)
                self._pause(_SECONDS_BETWEEN_TRIES)
                self._patience -= _SECONDS_BETWEEN_TRIES

    def _note_recorded(self, in_time: Sequence[bool]) -> None:
        """The journal has the results, each as far as its claim still counted."""
        self._patience = _PATIENCE
        settled, self._unrecorded = self._unrecorded, []
        if settled:
            faultpoint.reach("settle")
        self._unreported += zip(settled, in_time, strict=True)

    def _report(self) -> None:
        """Tell the log what is on record."""
        unreported, self._unreported = self._unreported, []
        tells_all = _log.isEnabledFor(logging.INFO)
        for settled, was_in_time in unreported:
            if was_in_time and not tells_all:
                continue
            # A logging handler of the project's may raise. That would be taken for an error of the
            # message at hand, which is the next one by now.
            with suppress(Exception):
                self._tell(settled, was_in_time)

    def _tell(self, settled: SettledClaim, in_time: bool) -> None:
        claim, settlement, _ = settled
        if in_time:
            _log.info(
                "message %s: %s after attempt %d: %s",
                claim.id, settlement.state, claim.attempt, settlement.reply,
            )  # fmt: skip
        else:
            _log.warning("message %s: its claim ended before its result was recorded", claim.id)

    def _spool(self) -> None:
        """Keep the results on the disk, for a worker's timer to record when the journal is back."""
        kept = [settled for settled in self._unrecorded if self._is_kept(settled)]
        self._unrecorded = [settled for settled in self._unrecorded if settled not in kept]

    def _is_kept(self, settled: SettledClaim) -> bool:
        claim, settlement, _ = settled
        try:
            path = current_spool().keep_result(self._journal.queue, settled)
        except (ImproperlyConfigured, OSError) as error:
            _log.error(
                "message %s: %s %s can't be recorded, nor kept in the spool: %s",
                claim.id, settlement.state, settlement.reply, error,
            )  # fmt: skip
            return False
        _log.warning("message %s: its result waits for the journal in %s", claim.id, path)
        return True
