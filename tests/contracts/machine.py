"""A journal in the hands of two producers, three workers, an operator, and a jumping clock.

The worker here is a plain one: it asks the journal and `retry.decide` what a real worker asks, one
call at a time, so that it can stop, die or be overtaken between any two. The mail server remembers
what it accepted.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from mailqueue.delivery.outcome import Answer, Outcome, Verdict
from mailqueue.delivery.retry import decide
from mailqueue.queue.journal import Claim, Entry, SettledClaim, Settlement
from mailqueue.state import State
from tests.contracts.ledger import (
    ATTACHMENTS,
    LEASE,
    PRODUCERS,
    REPLY_WAIT,
    WITHOUT_DUE,
    WORKERS,
    Attempt,
    Ledger,
    Stage,
)

# Seconds: within a lease, beyond it, beyond a commit's and a doubt's, a day. None: until the next
# message is due.
JUMPS = [None, None, None, 1, 61, 700, 3601, 86_400]
# By how many seconds the server's clock may step: more than what goes for time that has passed.
STEPS = [-86_400, -3600, -30, 30, 3600]

WAITING = {State.QUEUED, State.RETRYING, State.SCHEDULED, State.UNCERTAIN}
# What an operator may do to messages in which state.
LEGAL = {
    "retry": {State.FAILED, State.PARTIAL, State.UNCERTAIN, State.RETRYING, State.EXPIRED},
    "hold": WAITING,
    "resume": {State.HELD},
    "cancel": {*WAITING, State.HELD},
    "discard": {State.FAILED, State.PARTIAL, State.EXPIRED, State.HELD, State.UNCERTAIN},
}

producers, workers = st.sampled_from(PRODUCERS), st.sampled_from(WORKERS)
REPLIES = [Verdict.ACCEPTED, Verdict.ACCEPTED, Verdict.DEFERRED, Verdict.REFUSED]
ANSWERS = [*REPLIES, "arrived, no reply", "lost, no reply"]
ENDS = [*ANSWERS, "421, tried again", "421, given back"]
verdicts = st.lists(st.sampled_from(REPLIES), min_size=3, max_size=3)
ends = st.sampled_from(ENDS)
letters = st.fixed_dictionaries(
    {
        "recipients": st.integers(1, 3),
        "send_in": st.sampled_from([0, 0, 0, 0, 100]),
        "expires_in": st.sampled_from([0, 0, 0, 50, 4000]),
        "key": st.sampled_from(["", "", "a", "b"]),
        "blobs": st.sets(st.sampled_from(ATTACHMENTS)),
    }
)


class JournalMachine(Ledger):
    """What may happen to a journal, in any order."""

    # -- the clock

    @rule(seconds=st.sampled_from(JUMPS))
    def clock_jumps(self, seconds: int | None) -> None:
        """Time passes, and a worker's timer looks at the clock before and after."""
        self.timekeeper.look()
        self.stepped = False
        self.clock.set(self.next_due() if seconds is None else self.now + seconds)
        self.timekeeper.look()
        self.keys = {key: id_ for key, id_ in self.keys.items() if self.key_ends[key] >= self.now}

    @precondition(lambda self: not self.stepped)
    @rule(seconds=st.sampled_from(STEPS))
    def clock_steps(self, seconds: int) -> None:
        """The server's clock is put right, or wrong; at first no timer has noticed."""
        self.clock.step(seconds)
        self.stepped = True

    def next_due(self) -> float:
        """When somebody has to look at a message next; now, where none waits."""
        due = self.client.zrange("mailqueue:{q}:due", 0, 0, withscores=True)
        return max([self.now, *(int(score / 1000) + 1 for _, score in due)])

    # -- producers

    @precondition(lambda self: len(self.entries) - len(self.gone) < 5)
    @rule(
        producer=producers,
        batch=st.lists(letters, min_size=1, max_size=2),
        room=st.sampled_from([0, 1, 9]),
        lost=st.booleans(),
    )
    def accept(self, producer: str, batch: list[dict[str, Any]], room: int, lost: bool) -> None:
        """Accept new messages; the producer may miss the answer."""
        # How old the message is that stands for a key, nobody knows before a timer has looked.
        batch = [letter | ({"key": ""} if self.stepped else {}) for letter in batch]
        entries = [self.written(letter) for letter in batch]
        answer = self.journal.accept(entries, room=room)
        for entry, (id_, needs_task) in zip(entries, answer, strict=True):
            known = self.keys.get(entry.idempotency_key or "")
            assert id_ == (known or entry.id)
            scheduled = entry.send_at is not None and entry.send_at.timestamp() > self.now
            assert not needs_task or not (known or scheduled)
            assert needs_task or known or scheduled or room
            if not known:
                self.entries[id_] = entry
                self.recipients[id_] = list(entry.summary["to"])
                if entry.idempotency_key:
                    self.keys[entry.idempotency_key] = id_
                    self.key_ends[entry.idempotency_key] = self.now + self.policy.same_within
        if lost:
            self.unanswered[producer] = entries

    @rule(letter=letters)
    def accepts_in_vain(self, letter: dict[str, Any]) -> None:
        """A producer stores what it found missing before, and gets no further."""
        self.journal._store([self.written(letter)], letter["blobs"])

    @rule(claims=st.integers(1, 3))
    def counts_again(self, claims: int) -> None:
        """A server that crashed has forgotten its newest claims, whose workers live."""
        fence = int(self.client.get("mailqueue:{q}:fence") or 0)
        self.client.set("mailqueue:{q}:fence", max(0, fence - claims))

    def written(self, letter: dict[str, Any]) -> Entry:
        number = next(self.numbers)
        to = [f"{n}@example.com" for n in range(letter["recipients"])]
        return Entry(
            id=f"m{number}",
            payload=f"payload {number}",
            digest=f"digest {number}",
            summary={"subject": "", "from": "a@example.com", "to": to},
            send_at=self.moment(letter["send_in"]),
            expires_at=self.moment(letter["expires_in"]),
            idempotency_key=letter["key"] or None,
            blobs={name: f"content of {name}" for name in letter["blobs"]},
        )

    def moment(self, seconds: int) -> datetime | None:
        return datetime.fromtimestamp(self.now + seconds, UTC) if seconds else None

    @precondition(lambda self: any(self.unanswered.values()) and not self.stepped)
    @rule(producer=producers)
    def send_again(self, producer: str) -> None:
        """A producer that missed the answer sends the same objects again: nothing changes."""
        entries, self.unanswered[producer] = self.unanswered[producer], []
        ids = [self.keys.get(entry.idempotency_key or "", entry.id) for entry in entries]
        # Once the message that it stood for is gone, a key stands for whatever comes next.
        if self.entries.keys() - self.gone >= set(ids):
            assert self.journal.accept(entries) == [(id_, False) for id_ in ids]

    # -- workers

    @precondition(lambda self: self.entries)
    @rule(worker=workers, data=st.data())
    def takes_any_task(self, worker: str, data: st.DataObject) -> None:
        """Tasks come late, twice, and forged: claim anything, and go on with it."""
        known = st.sampled_from(["unknown", *self.entries])
        self.claim(worker, data.draw(st.lists(known, min_size=1, max_size=3, unique=True)))
        self.proceed(worker, data)

    @rule(worker=workers, data=st.data())
    def takes_what_is_due(self, worker: str, data: st.DataObject) -> None:
        """The timer's step, and a worker that takes the task, unless that gets lost."""
        self.clock_jumps(data.draw(st.sampled_from([0, None])))
        self.release(worker, lost=data.draw(st.booleans()))
        self.proceed(worker, data)

    @rule(worker=workers, data=st.data())
    def goes_on(self, worker: str, data: st.DataObject) -> None:
        """A worker takes its next steps."""
        self.proceed(worker, data)

    def release(self, worker: str, *, lost: bool = False) -> None:
        released = [message.id for message in self.journal.release()]
        assert {record.state for record in self.journal.read(released)} <= {State.QUEUED}
        self.claim(worker, [] if lost else released)

    def claim(self, worker: str, ids: list[str]) -> None:
        claims, looked_at = self.journal.claim([(id_, "another digest") for id_ in ids])
        assert looked_at <= len(ids)
        assert looked_at or not ids
        self.claimed(worker, claims)

    @rule(worker=workers, limit=st.integers(0, 3), begins=st.booleans(), data=st.data())
    def takes_what_joined(self, worker: str, limit: int, begins: bool, data: st.DataObject) -> None:
        """A task takes along what no task names."""
        names = data.draw(st.sampled_from(sorted(self.entries))) if begins and self.entries else ""
        claims, _ = self.journal.take(limit, begins=names)
        assert len(claims) <= limit
        self.claimed(worker, claims)
        self.proceed(worker, data)

    def claimed(self, worker: str, claims: list[Claim]) -> None:
        for claim in claims:
            # One owner: whoever had it before has no lease any more.
            assert self.lease_ends.get(claim.id, self.now) <= self.now
            assert self.not_before.get(claim.id, self.now) <= self.now
            send_at = self.entries[claim.id].send_at
            assert not send_at or send_at.timestamp() <= self.now
            assert claim.token not in self.tokens
            self.tokens.add(claim.token)
            self.lease_ends[claim.id] = self.now + LEASE
            assert claim.payload == self.entries[claim.id].payload
            settled = self.journal.results_of(claim)
            to_be_tried = [a for a in self.recipients[claim.id] if a not in settled]
            assert to_be_tried
            assert not self.refused[claim.id].intersection(to_be_tried)  # I4
            self.hands[worker].append(Attempt(claim, to_be_tried))

    def proceed(self, worker: str, data: st.DataObject) -> None:
        """Take some steps, as far as to the end of the first message in hand and the next one's."""
        for _ in range(data.draw(st.integers(0, 6))):
            if not self.hands[worker]:
                break
            attempt, *others = self.hands[worker]
            if attempt.stage is Stage.RCPT:
                self.transact(attempt, data.draw(verdicts))
            elif attempt.stage is Stage.COMMIT:
                self.commit(worker, attempt)
            elif attempt.stage is Stage.DOT:
                self.dot(worker, attempt, data.draw(ends))
            elif others and data.draw(st.booleans()):
                for other in others:
                    if data.draw(st.booleans()):
                        self.go_on_with(other, data)
                self.advance(worker)
            else:
                self.settle(worker, attempt, times=data.draw(st.integers(1, 2)))

    def go_on_with(self, attempt: Attempt, data: st.DataObject) -> None:
        """A step of a message that is not the first in hand, as where several are under way."""
        if attempt.stage is Stage.RCPT:
            self.transact(attempt, data.draw(verdicts))
        elif attempt.stage is Stage.DOT:
            self.answer(attempt, data.draw(st.sampled_from(ANSWERS)))

    def transact(self, attempt: Attempt, verdicts: list[Verdict]) -> None:
        attempt.answers = dict(zip(attempt.recipients, verdicts, strict=False))
        attempt.stage = Stage.COMMIT if attempt.accepted else Stage.SETTLE

    def commit(self, worker: str, attempt: Attempt) -> None:
        owned = self.owns(attempt.claim)
        assert self.journal.commit(attempt.claim) is owned
        self.committed(worker, attempt, owned)

    def committed(self, worker: str, attempt: Attempt, owned: bool) -> None:
        if not owned:
            self.hands[worker].remove(attempt)
            return
        id_ = attempt.claim.id
        assert not self.refused[id_].intersection(attempt.recipients)  # I4
        self.lease_ends[id_] = self.now + REPLY_WAIT
        self.doubts[id_] += 1 - attempt.commits
        self.be_patient(id_, self.policy.doubt, REPLY_WAIT)
        attempt.commits, attempt.stage = 1, Stage.DOT

    def dot(self, worker: str, attempt: Attempt, end: str) -> None:
        """The final dot, and what the server makes of it."""
        if end.startswith("421"):  # the server speaks of itself
            attempt.stage = Stage.RCPT
            if end == "421, given back":
                self.give_back(worker, 30)
            return
        self.answer(attempt, end)

    def answer(self, attempt: Attempt, end: str) -> None:
        """What the server says of the message, if anything."""
        if end in {Verdict.ACCEPTED, "arrived, no reply"}:
            self.copies.update((attempt.claim.id, address) for address in attempt.accepted)
        verdict = Verdict(end) if end in set(Verdict) else Verdict.IN_DOUBT
        attempt.answers |= dict.fromkeys(attempt.accepted, verdict)
        attempt.stage = Stage.SETTLE

    def give_back(self, worker: str, delay: float) -> None:
        for attempt in self.hands[worker]:
            owned = self.owns(attempt.claim)
            assert self.journal.give_back(attempt.claim, delay, "421 later") is owned
            if owned:
                self.doubts[attempt.claim.id] -= attempt.commits
                self.not_before.pop(attempt.claim.id, None)
                self.lease_ends.pop(attempt.claim.id)
        self.hands[worker] = []

    def settle(self, worker: str, attempt: Attempt, times: int = 1) -> None:
        """Record what the attempt came to; where the answer got lost, once more."""
        claim, settlement = attempt.claim, self.decided(attempt)
        late = self.still_counts(claim, settlement)
        recorded = self.owns(claim) or late
        assert {self.journal.settle(claim, settlement) for _ in range(times)} == {recorded}
        self.settled(worker, attempt, settlement, recorded=recorded, late=late)

    def decided(self, attempt: Attempt) -> Settlement:
        claim = attempt.claim
        return decide(
            Outcome({a: Answer(verdict, verdict) for a, verdict in attempt.answers.items()}),
            self.journal.results_of(claim),
            self.recipients[claim.id],
            tries=claim.tries,
            age=claim.age,
            policy=self.retry_policy,
            chance=0.5,
        )

    def advance(self, worker: str) -> None:
        """Record all that was answered, and commit all that comes next, as a busy worker does."""
        hands = self.hands[worker]
        done = [attempt for attempt in hands if attempt.stage is Stage.SETTLE]
        next_ = [attempt for attempt in hands if attempt.stage is Stage.COMMIT]
        settlements = [self.decided(attempt) for attempt in done]
        late = [self.still_counts(attempt.claim, self.decided(attempt)) for attempt in done]
        owned = [self.owns(attempt.claim) for attempt in done]
        recorded = [a or b for a, b in zip(owned, late, strict=True)]
        may_be_sent = [self.owns(attempt.claim) for attempt in next_]
        settled = [SettledClaim(a.claim, s) for a, s in zip(done, settlements, strict=True)]
        answer = self.journal.advance(settled, [attempt.claim for attempt in next_])
        assert answer == (recorded, may_be_sent, 0)  # none is urgent here
        for attempt, settlement, was, came_late in zip(
            done, settlements, recorded, late, strict=True
        ):
            self.settled(worker, attempt, settlement, recorded=was, late=came_late)
        for attempt, may_go in zip(next_, may_be_sent, strict=True):
            self.committed(worker, attempt, may_go)

    def settled(
        self, worker: str, attempt: Attempt, settlement: Settlement, *, recorded: bool, late: bool
    ) -> None:
        claim = attempt.claim
        if recorded:
            if settlement.state is State.UNCERTAIN:
                self.be_patient(claim.id, settlement.delay)
            else:
                self.doubts[claim.id] -= attempt.commits
                self.not_before.pop(claim.id, None)
                self.answered_late |= {claim.id} if late else set()
            results = settlement.results.items()
            self.refused[claim.id] |= {a for a, r in results if r.state is State.FAILED}
            self.lease_ends.pop(claim.id, None)
        self.hands[worker].remove(attempt)

    @precondition(lambda self: any(self.hands.values()))
    @rule(worker=workers, how=st.sampled_from(["crash", "exit", "end", "renew"]))
    def is_interrupted(self, worker: str, how: str) -> None:
        """Kill -9 leaves all in hand to the leases, SIGTERM gives it back, a timer renews.

        Where the message in hand ends the process, that message alone counts as lost.
        """
        if how == "crash":
            self.hands[worker] = []
        elif how == "exit":
            self.lose(worker)
        elif how == "renew":
            self.renew(worker)
        elif not any(attempt.commits for attempt in self.hands[worker]):
            self.give_back(worker, 0)

    def lose(self, worker: str) -> None:
        """The process ends in the middle of a message, and can still say so."""
        if not self.hands[worker]:
            return
        attempt = self.hands[worker].pop(0)
        owned = self.owns(attempt.claim)
        assert self.journal.lose(attempt.claim, "the worker was stopped") is owned
        if owned:
            self.lease_ends.pop(attempt.claim.id)
            if attempt.commits:
                self.be_patient(attempt.claim.id, self.policy.doubt)

    @precondition(lambda self: any(self.hands.values()))
    @rule(worker=workers, idle=st.sampled_from([None, 0, 3600]))
    def meets_an_error(self, worker: str, idle: float | None) -> None:
        """Nobody can explain it: it is counted once, and only where the claim still holds."""
        for attempt in self.hands[worker][:1]:
            key = f"mailqueue:{{q}}:message:{attempt.claim.id}"
            fields = ("faults", "counted", "faulted", "since", "created")
            faults, counted, *times = self.client.hmget(key, *fields)
            before = next((float(time) / 1000 for time in times if time), 0)
            owned = self.owns(attempt.claim)
            journal_time = self.journal.read_clock().journal_time
            sent_since = idle is not None and journal_time - idle >= before
            expected = (int(faults or 0) + owned, int(counted or 0) + (owned and sent_since))
            assert self.journal.note_fault(attempt.claim, idle) == expected

    def renew(self, worker: str) -> None:
        """Prolong the leases that still hold, before the commit."""
        claims = [attempt.claim for attempt in self.hands[worker]]
        held = [claim for claim in claims if self.owns(claim, [State.SENDING])]
        assert self.journal.renew(claims) == len(held)
        self.lease_ends |= {claim.id: self.now + LEASE for claim in held}

    # -- the operator

    @precondition(lambda self: self.entries)
    @rule(what=st.sampled_from(list(LEGAL)), data=st.data())
    def operates(self, what: str, data: st.DataObject) -> None:
        """An operator asks for another try of messages, holds, resumes, cancels, discards them."""
        ids = data.draw(st.lists(st.sampled_from(list(self.entries)), max_size=2, unique=True))
        legal = [r.id for r in self.journal.read(ids) if r.state in LEGAL[what]]
        answer = getattr(self.journal, what)(ids)
        if what == "retry":
            assert answer == legal
            for id_ in legal:
                self.refused[id_].clear()
                self.not_before.pop(id_, None)
                expires = self.client.hget(f"mailqueue:{{q}}:message:{id_}", "expires")
                assert not expires or int(expires) > self.now * 1000
        else:
            assert [change.id for change in answer if change.changed] == legal
        if what == "discard":
            self.forget(legal)

    def forget(self, ids: Iterable[str]) -> None:
        self.gone.update(ids)
        self.keys = {key: id_ for key, id_ in self.keys.items() if id_ not in self.gone}

    @rule(state=st.sampled_from([State.SENT, State.FAILED]), age=st.sampled_from([0, 3600]))
    def trim(self, state: State, age: int) -> None:
        """Old records of a final state go."""
        before = set(self.journal.ids(state))
        removed = self.journal.trim(state, age)
        gone = before - set(self.journal.ids(state))
        assert len(gone) == removed
        self.forget(gone)

    # -- the end

    def teardown(self) -> None:
        """All workers vanish, one good one is left: every message comes to its end."""
        if not self.entries:
            return
        self.hands = {worker: [] for worker in WORKERS}
        for _ in range(100 * len(self.entries)):
            self.clock_jumps(None)
            self.release(WORKERS[0])
            for attempt in list(self.hands[WORKERS[0]]):
                self.transact(attempt, [Verdict.ACCEPTED] * 3)
                self.commit(WORKERS[0], attempt)
                self.dot(WORKERS[0], attempt, Verdict.ACCEPTED)
                self.settle(WORKERS[0], attempt)
            if not self.client.zcard("mailqueue:{q}:due"):
                break
        self.all_is_well()
        for state in State:
            assert all(r.state is state for r in self.journal.read(list(self.journal.ids(state))))
        for record in self.journal.read(list(self.entries)):
            assert record.state.final or record.state in WITHOUT_DUE
