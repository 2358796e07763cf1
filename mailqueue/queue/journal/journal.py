"""The journal on Redis or Valkey: the messages of one queue, and what may be done with them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, TypeVar

import redis

from mailqueue.errors import EnqueueError, JournalUnavailable
from mailqueue.state import State
from mailqueue.store.client import Client, ensure_connected, translating_errors
from mailqueue.store.sealing import Sealer

from .. import quickjson
from ..options import Priority
from ..payload.blob import sha256
from .operator import Operator
from .reader import QUEUES, ms
from .record import (
    Acceptance,
    Advanced,
    Claim,
    Claimed,
    Due,
    Entry,
    Faults,
    Missing,
    Policy,
    ServerClock,
    SettledClaim,
    Settlement,
    Taken,
)
from .replies import (
    read_accepted,
    read_advanced,
    read_claimed,
    read_due,
    read_faults,
    read_taken,
)
from .rows import dump_results

_LOOSE_SECONDS = 600  # an attachment may wait so long for the first message that refers to it
_TRIES_TO_STORE = 5
ACCEPT_AT_ONCE = 500  # messages a call: keeps one call under a few milliseconds of server time
_Reply = TypeVar("_Reply")


class Journal(Operator):
    """The messages of one queue, to be looked at and changed.

    Each change is one atomic operation, a file of ``lua/``, where ``head.lua`` documents the keys.
    All of them raise JournalUnavailable when the server can't be reached or refuses.
    """

    def __init__(
        self,
        client: Client,
        queue: str,
        policy: Policy | None = None,
        sealer: Sealer | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(client, queue, sealer, clock)
        self.policy = policy or Policy()
        self._checked = self._listed = False

    # -- the producer's side

    def accept(
        self, entries: Sequence[Entry], *, fsync: bool = False, room: int = 0
    ) -> list[Acceptance]:
        """Take the messages; return the id of each, and whether it needs a task.

        Accepting an id or an idempotency key again changes nothing. With ``room``, a message joins
        a task that is known to wait in the broker, if there is one: that has room for so many, and
        will ``take`` them. With ``fsync`` it returns only
        when the messages are on the server's disk (``WAITAOF``). Raises JournalUnavailable where
        nothing was accepted, and EnqueueUnknown where the answer got lost. A failure in the middle
        of many carries the ids that are not known as accepted.
        """
        accepted: list[Acceptance] = []
        for start in range(0, len(entries), ACCEPT_AT_ONCE):
            try:
                accepted += self._accept(entries[start : start + ACCEPT_AT_ONCE], fsync, room)
            except BaseException as error:
                self._listed = False  # an answer that got lost may have said so
                if isinstance(error, EnqueueError):
                    error.ids = tuple(entry.id for entry in entries[start:])
                raise
        return accepted

    def _accept(self, entries: Sequence[Entry], fsync: bool, room: int) -> list[Acceptance]:
        self._announce(fsync)
        policy = self.policy
        arguments: list[str | int] = [ms(policy.grace), ms(policy.same_within), room]
        arguments.append(ms(self._clock()))
        for entry in entries:
            summary = self.sealer.seal(quickjson.dumps(entry.summary))
            arguments += [entry.id, entry.payload, entry.digest, summary]
            arguments += [_moment(entry.send_at), _moment(entry.expires_at)]
            # The key may tell something of a person, and names of keys can't be sealed.
            same = sha256(entry.idempotency_key) if entry.idempotency_key else ""
            arguments += [same, " ".join(entry.blobs), entry.priority]
        ids = tuple([entry.id for entry in entries])
        call = self._call_durably if fsync else self._insist
        for _ in range(_TRIES_TO_STORE):
            accepted = read_accepted(call("accept", arguments, ids))
            if not isinstance(accepted, Missing):
                if accepted.is_first:
                    self._list_again()
                return accepted.acceptances
            self._store(entries, accepted.names)
        raise JournalUnavailable("the attachments could not be stored: they vanish at once", ids)

    def _store(self, entries: Sequence[Entry], names: Iterable[str]) -> None:
        """Store attachments, for a while: what no message refers to by then goes by itself.

        What is there meanwhile stays as it is: another message may refer to it, for good.
        """
        contents = {name: content for entry in entries for name, content in entry.blobs.items()}
        with translating_errors(self._client):
            for name in dict.fromkeys(names):
                content = self.sealer.seal(contents[name])
                key = f"{self._prefix}:blob:{name}"
                self._client.set(key, content, ex=_LOOSE_SECONDS, nx=True)

    def _announce(self, fsync: bool) -> None:
        """Once: check the server, and make the queue known to all workers' timers."""
        if not self._checked:
            self.check(fsync=fsync)
            self._checked = True
        if not self._listed:
            self._list()

    def _list_again(self) -> None:
        """Make the queue known once more: whoever emptied the server took its name along.

        The messages are accepted by now. Where this fails, it is done before the next ones.
        """
        self._listed = False
        with suppress(JournalUnavailable):
            self._list()

    def _list(self) -> None:
        with translating_errors(self._client):
            self._client.sadd(QUEUES, self.queue)
        self._listed = True

    # -- the worker's side

    def claim(self, ids: Sequence[tuple[str, str]]) -> Claimed:
        """Claim messages by id and digest of the payload in hand ('' for none).

        Returns those that are now the caller's to send, and how many of ``ids`` were looked at: a
        message that lost its worker before is claimed alone, so the caller asks again for the rest.
        """
        return self.begin_claim(ids)()

    def begin_claim(self, ids: Sequence[tuple[str, str]]) -> Callable[[], Claimed]:
        """The same, without a wait: what it returns is to be called for the answer."""
        arguments: list[str | int] = [ms(self.policy.lease), _nonce(), *self._recovery()]
        for id_, digest in ids:
            arguments += [id_, digest]
        return self._begin("claim", arguments, read_claimed)

    def take(self, limit: int, *, begins: str = "", levels: int = len(Priority)) -> Taken:
        """Claim messages that joined a task; return them, and how many need another one.

        Among them are those that a small send has a new task name. The task that ``begins`` with
        that message waits no more: those that come now need another. What is left is the next
        task's, where one is known to wait; some of the number may have been claimed by their ids.
        ``levels`` is how many priorities are looked at, from the highest on.
        """
        return self.begin_take(limit, begins=begins, levels=levels)()

    def begin_take(
        self, limit: int, *, begins: str = "", levels: int = len(Priority)
    ) -> Callable[[], Taken]:
        """The same, without a wait: what it returns is to be called for the answer."""
        return self._begin(
            "take", [ms(self.policy.lease), _nonce(), limit, begins, levels], read_taken
        )

    def _begin(
        self, operation: str, arguments: Sequence[str | int], read: Callable[[Any], _Reply]
    ) -> Callable[[], _Reply]:
        asked = self._script.ask(self._prefix, [operation, *arguments])
        return lambda: read(asked.answer())

    def renew(self, claims: Iterable[Claim]) -> int:
        """Prolong the leases of claims that still hold; return how many did."""
        pairs = [part for claim in claims for part in (claim.id, claim.token)]
        return int(self._call("renew", [ms(self.policy.lease), *pairs])) if pairs else 0

    def advance(
        self,
        settled: Sequence[SettledClaim],
        claims: Sequence[Claim],
        meanwhile: Callable[[], object] | None = None,
    ) -> Advanced:
        """Record what attempts came to, and note that the final dots of these claims come next.

        One round trip for both; ``meanwhile`` is called while the answer travels. Returns whether
        each result was recorded, and whether each dot may be sent; False: that claim is stale. It
        also says how many levels of priority have messages to ``take`` before others.
        """
        arguments: list[str | int] = [ms(self.policy.reply_wait), len(settled)]
        for result in settled:
            arguments += self._result_arguments(result)
        for claim in claims:
            arguments += [claim.id, claim.token]
        reply = self._call("advance", arguments, meanwhile=meanwhile)
        return read_advanced(reply, len(settled))

    def commit(self, claim: Claim) -> bool:
        """Note that the final dot comes next. False: the claim is stale, it must not be sent."""
        return self.advance([], [claim]).may_commit[0]

    def settle(self, claim: Claim, settlement: Settlement, worker: str = "") -> bool:
        """Record what the attempt came to. False: the claim is stale and nothing was recorded."""
        return self.advance([SettledClaim(claim, settlement, worker)], []).recorded[0]

    def _result_arguments(self, settled: SettledClaim) -> list[str | int]:
        claim, settlement = settled.claim, settled.settlement
        seal = self.sealer.seal
        line: dict[str, Any] = {"state": settlement.state, "reply": settlement.reply}
        line["worker"] = settled.worker
        if settlement.replies:
            line["replies"] = dict(settlement.replies)
        delay = -1 if settlement.delay is None else ms(settlement.delay)
        arguments: list[str | int] = [claim.id, claim.token, settlement.state, delay]
        return [*arguments, seal(dump_results(settlement.results)), seal(quickjson.dumps(line))]

    def give_back(self, claim: Claim, delay: float = 0, reply: str = "") -> bool:
        """Hand a claim back that was not tried, for ``delay`` seconds; it costs no attempt."""
        arguments: list[str | int] = [claim.id, claim.token, ms(delay)]
        arguments += [reply and self.sealer.seal(reply)]
        return bool(self._call("give_back", arguments))

    def note_fault(self, claim: Claim, idle: float | None) -> Faults:
        """Count an unexplained error that kept the message from being sent.

        ``idle`` is how many seconds ago the worker sent another message, None for never. The error
        counts against the message where that was after its last one.
        """
        seconds = -1 if idle is None else ms(idle)
        return read_faults(self._call("fault", [claim.id, claim.token, seconds]))

    def lose(self, claim: Claim, reason: str) -> bool:
        """Note that this process ends with the message in hand, which counts as a lost worker."""
        arguments: list[str | int] = [claim.id, claim.token, reason, *self._recovery()]
        return bool(self._call("lose", arguments))

    def alarm(self, source: str, reason: str, kept: float) -> None:
        """Have ``health`` tell what keeps ``source`` from sending, for ``kept`` seconds.

        With 0 it tells that no longer.
        """
        self._call("alarm", [source, ms(kept), reason and self.sealer.seal(reason)])

    def put_back(self, ids: Sequence[str]) -> int:
        """Make queued messages, whose task is used up, due at once; return how many are queued."""
        return int(self._call("put_back", ids))

    def release(self, limit: int = 1000, *, tick: float = 0) -> list[Due]:
        """Queue what is due: new without a task, retrying, scheduled, lease ended.

        Returns what to publish tasks for. With ``tick``, only the first of all the workers that
        ask within so many seconds gets any.
        """
        arguments = [ms(tick), limit, ms(self.policy.regrace), *self._recovery()]
        return read_due(self._call("release", arguments))

    def trim(self, state: State, older_than: float, limit: int = 1000) -> int:
        """Remove records of a final state that entered it more than so many seconds ago."""
        return int(self._call("trim", [state, ms(older_than), limit]))

    def beat(
        self,
        worker: str,
        queues: Sequence[str] | None = None,
        mailers: Sequence[str] | None = None,
    ) -> None:
        """Note that this worker's timer lives, which queues it takes, and which mailers it uses.

        The queue becomes known to all by that: a program whose own is misspelt learns of it.
        """
        said = {"queues": queues, "mailers": mailers}
        facts = {name: list(names) for name, names in said.items() if names is not None}
        self._call("beat", [worker, quickjson.dumps(facts)])
        self._list()

    def set_clock(self, clock: ServerClock, offset: float) -> bool:
        """Note that this was right, with the offset from now on; False: that is another by now."""
        arguments = [ms(clock.time), ms(clock.offset), ms(offset)]
        return bool(self._call("set_clock", arguments))

    def forget_everything(self) -> None:
        """Remove all keys of this queue. For tests."""
        with translating_errors(self._client):
            for key in self._client.scan_iter(match=f"{self._prefix}:*", count=1000):
                self._client.delete(key)

    # -- how it is done

    def _recovery(self) -> list[int]:
        doubt = self.policy.doubt
        return [self.policy.max_lost, -1 if doubt is None else ms(doubt)]

    def _insist(
        self, operation: str, arguments: Sequence[str | int], unknown: tuple[str, ...]
    ) -> Any:
        return self._script.insist(self._prefix, [operation, *arguments], unknown)

    def _call_durably(
        self, operation: str, arguments: Sequence[str | int], unknown: tuple[str, ...]
    ) -> Any:
        ensure_connected(self._client)
        with translating_errors(self._client, unknown=unknown):
            return self._call_and_sync(operation, arguments)

    def _call_and_sync(self, operation: str, arguments: Sequence[str | int]) -> Any:
        # WAITAOF speaks of the writes of its own connection, hence one pipeline for both.
        timeout = self._client.connection_pool.connection_kwargs["socket_timeout"]
        for _ in range(2):
            pipeline = self._client.pipeline(transaction=False)
            pipeline.evalsha(self._script.sha, 1, self._prefix, operation, *arguments)
            pipeline.waitaof(1, 0, ms(timeout * 0.9))
            answer, synced = pipeline.execute(raise_on_error=False)
            if not isinstance(answer, redis.exceptions.NoScriptError):
                break
            self._client.script_load(self._script.text)
        if isinstance(answer, Exception):
            raise answer
        # Whatever WAITAOF says: the script has been carried out by now, so this is no refusal.
        if isinstance(synced, Exception):
            raise redis.TimeoutError(f"the append-only file was not synced: {synced}")
        if not synced[0]:
            raise redis.TimeoutError("the append-only file was not synced in time")
        return answer


def _nonce() -> str:
    """Digits that no other claim has; the same number of them each time, so that tokens rise."""
    return f"{secrets.randbelow(10**15):015}"


def _moment(moment: datetime | None) -> int:
    return max(1, int(moment.timestamp() * 1000)) if moment else 0  # 0 is none
