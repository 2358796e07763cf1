"""What a journal was asked to do in a test, and what must therefore be true of it.

Each invariant has the number by which the issue that asked for the journal named it. (I6, that no
transaction begins while results can't be recorded, is the real worker's:
`tests/faults/test_worker_death.py`.)
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container
from dataclasses import dataclass, field
from enum import Enum
from itertools import count
from math import inf
from typing import NamedTuple

import redis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant

from mailqueue.delivery.outcome import Verdict
from mailqueue.delivery.retry import RetryPolicy
from mailqueue.queue.journal import Claim, Entry, Journal, Policy, Record, Settlement, Timekeeper
from mailqueue.state import State
from tests.contracts.journals import Clock

LEASE, GRACE, REPLY_WAIT, DOUBT = 60, 5, 660, 3600
RETRY = RetryPolicy((60.0, 300.0, 900.0), max_age=5 * 86400, doubt=DOUBT)
PRODUCERS, WORKERS = ("producer 1", "producer 2"), ("worker 1", "worker 2", "worker 3")
WITHOUT_DUE = {State.HELD, State.UNCERTAIN}
DROPPED = {State.SENT, State.CANCELLED}  # whose payload is gone
ATTACHMENTS = ["aa", "bb"]


class Stage(Enum):
    """What comes next for a message in a worker's hands."""

    RCPT = 1
    COMMIT = 2
    DOT = 3
    SETTLE = 4


@dataclass
class Attempt:
    """A claimed message in a worker's hands, and how far it has come."""

    claim: Claim
    recipients: list[str]
    stage: Stage = Stage.RCPT
    answers: dict[str, Verdict] = field(default_factory=dict)
    commits: int = 0  # 1 while a commit stands without a recorded answer

    @property
    def accepted(self) -> list[str]:
        return [a for a, verdict in self.answers.items() if verdict is Verdict.ACCEPTED]


class Seen(NamedTuple):
    """What the server's keys say besides the records."""

    states: dict[State, list[str]]
    lasts: dict[str, int]  # an attachment, how many seconds it lasts
    counts: list[int]
    due: list[tuple[str, float]]
    accepted: str | None
    needed: dict[str, str]  # an attachment, by how many messages


class Ledger(RuleBasedStateMachine):
    """All that was done to a journal, and what holds after every step."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__()
        self.client = client
        self.numbers = count()
        self.entries: dict[str, Entry] = {}  # all that was ever accepted
        self.recipients: dict[str, list[str]] = {}
        self.keys: dict[str, str] = {}  # idempotency key -> id
        self.key_ends: dict[str, float] = {}
        self.gone: set[str] = set()  # trimmed or discarded
        self.unanswered: dict[str, list[Entry]] = {producer: [] for producer in PRODUCERS}
        self.hands: dict[str, list[Attempt]] = {worker: [] for worker in WORKERS}
        self.lease_ends: dict[str, float] = {}
        self.not_before: dict[str, float] = {}  # of messages in doubt
        self.tokens: set[str] = set()  # all that were ever handed out
        # What the mail server did, and what of it went on record.
        self.copies: Counter[tuple[str, str]] = Counter()
        self.refused: defaultdict[str, set[str]] = defaultdict(set)
        self.answered_late: set[str] = set()  # were in doubt until an answer came after the lease
        self.doubts: Counter[str] = Counter()  # commits without a recorded, definite answer

    @initialize(doubt=st.sampled_from([DOUBT, None]))
    def begin(self, doubt: float | None) -> None:
        self.client.flushdb()
        self.policy = Policy(LEASE, GRACE, LEASE, doubt, REPLY_WAIT, max_lost=3)
        self.retry_policy = RetryPolicy(RETRY.delays, RETRY.max_age, doubt)
        self.clock = Clock(self.client)
        self.journal = self.clock.on(Journal(self.client, "q", self.policy))
        self.timekeeper = Timekeeper(self.journal, lambda: self.now)
        self.timekeeper.look()  # the server knows the script from now on
        self.timekeeper.look()
        self.stepped = False  # and no timer has looked at the clock since

    @property
    def now(self) -> float:
        return self.clock.seconds

    def be_patient(self, id_: str, doubt: float | None, wait: float = 0) -> None:
        """Nobody may send the message again until then, unless an answer or a person says so."""
        self.not_before[id_] = inf if doubt is None else self.now + wait + doubt

    def owns(
        self, claim: Claim, states: Container[str] = (State.SENDING, State.COMMITTING)
    ) -> bool:
        """Whether the message is still in this claim's hands, by its record."""
        key = f"mailqueue:{{q}}:message:{claim.id}"
        state, token = self.client.hmget(key, "state", "token")
        return state in states and token == claim.token

    def still_counts(self, claim: Claim, settlement: Settlement) -> bool:
        """Whether its lease has ended, and nobody has claimed the message or asked for it since.

        What is held meanwhile takes only a result that ends it.
        """
        key = f"mailqueue:{{q}}:message:{claim.id}"
        state, token, lost = self.client.hmget(key, "state", "left_token", "lost")
        ends = state == State.HELD and settlement.state.final
        waits = ends or state in {State.UNCERTAIN, State.QUEUED}
        return waits and token == claim.token and lost != "0"

    @invariant()
    def all_is_well(self) -> None:
        records = self.journal.read(list(self.entries))
        # I5: none is lost, none was invented.
        assert {record.id for record in records} == self.entries.keys() - self.gone
        seen = self.look()
        found = Counter(record.state for record in records)
        assert seen.counts == [found[state] for state in State]
        assert int(seen.accepted or 0) == len(self.entries)
        self.states_are_whole(records, seen)
        self.due_times_are_whole(records, dict(seen.due))
        self.attachments_are_whole(records, seen)
        for record in records:
            self.lease_is_over(record)
            self.fate_is_true(record)

    def look(self) -> Seen:
        """Look beside the records, at once: a round trip for each would take most of the time."""
        pipeline = self.client.pipeline(transaction=False)
        for state in State:
            pipeline.zrange(f"mailqueue:{{q}}:state:{state}", 0, -1)
        for name in ATTACHMENTS:
            pipeline.ttl(f"mailqueue:{{q}}:blob:{name}")
        script = self.journal._script
        pipeline.evalsha(script.sha, 1, "mailqueue:{q}", "counts", *State)
        pipeline.zrange("mailqueue:{q}:due", 0, -1, withscores=True)
        pipeline.hget("mailqueue:{q}:totals", "accepted")
        pipeline.hgetall("mailqueue:{q}:blobs")
        found = iter(pipeline.execute())
        states = {state: next(found) for state in State}
        return Seen(states, {name: next(found) for name in ATTACHMENTS}, *found)

    def lease_is_over(self, record: Record) -> None:
        """What no worker has in hand any more was left to its lease's end; a clock may go back."""
        if record.state not in {State.SENDING, State.COMMITTING}:
            assert self.lease_ends.pop(record.id, self.now) <= self.now

    def states_are_whole(self, records: list[Record], seen: Seen) -> None:
        """I1: each id is in one state; what is in hand shares a set."""
        expected: dict[State, set[str]] = {state: set() for state in State}
        for record in records:
            in_hand = record.state is State.COMMITTING
            expected[State.SENDING if in_hand else record.state].add(record.id)
        assert {state: set(ids) for state, ids in seen.states.items()} == expected

    def due_times_are_whole(self, records: list[Record], due: dict[str, float]) -> None:
        """I1: somebody will look at each message unless that is its end."""
        # As long as no timer has noticed a step, what is shown is in order, and what is kept isn't.
        ahead = self.journal.read_clock().journal_time - self.now if self.stepped else 0
        dues = {r.id: round((r.due.timestamp() + ahead) * 1000) for r in records if r.due}
        # A commit moves the time in the record only: whoever looks too early looks again then.
        committing = due.keys() & {r.id for r in records if r.state is State.COMMITTING}
        assert all(due[id_] <= dues[id_] for id_ in committing)
        assert due | {id_: dues[id_] for id_ in committing} == dues
        for record in records:
            may_rest = record.state.final or record.state in WITHOUT_DUE
            assert record.due is None if record.state.final else record.due or may_rest

    def attachments_are_whole(self, records: list[Record], seen: Seen) -> None:
        """What a message needs to be sent is there, and what no message needs is gone."""
        wanted: Counter[str] = Counter()
        for record in records:
            assert record.has_payload is (record.state not in DROPPED)
            wanted.update(list(self.entries[record.id].blobs) if record.has_payload else ())
        assert seen.needed == {name: str(count) for name, count in wanted.items()}
        # For ever (-1) exactly as long as a message refers to it; what is gone has -2.
        assert {name for name, lasts in seen.lasts.items() if lasts == -1} == wanted.keys()

    def fate_is_true(self, record: Record) -> None:
        served = {a for a, result in record.results.items() if result.state is State.SENT}
        # I2: who is said to be served was.
        assert all(self.copies[record.id, address] for address in served)
        if record.state is State.SENT:
            assert served == set(self.recipients[record.id])
        if record.state is State.PARTIAL:
            assert served
        # I3: a second copy takes a commit that never came to a recorded answer.
        for address in self.recipients[record.id]:
            assert self.copies[record.id, address] <= 1 + self.doubts[record.id]
        if record.state is State.UNCERTAIN:
            assert self.doubts[record.id] or record.id in self.answered_late
        # What may have been sent is never said to be "expired before it could be sent".
        if record.state is State.EXPIRED:
            assert not self.doubts[record.id]
            expires_at = self.entries[record.id].expires_at
            assert expires_at
            assert expires_at.timestamp() <= self.now
