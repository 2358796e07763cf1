"""What is known of the messages of one queue, and of the server that keeps them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import redis

from mailqueue.errors import ImproperlyConfigured
from mailqueue.state import State
from mailqueue.store.client import (
    Client,
    condition,
    describe,
    translating_errors,
    try_to_write,
)
from mailqueue.store.script import Script
from mailqueue.store.sealing import Sealer
from mailqueue.store.version import problem_of_version

from .record import Alarm, Claim, Pulse, Record, Result, ServerClock
from .replies import read_alarms, read_clock, read_in_hand, read_pulse
from .rows import WITHOUT_PAYLOAD, read_record, read_results
from .script import SCRIPT

QUEUES = "mailqueue:queues"
ALIVE_WITHIN = 10.0  # seconds; a worker's timer beats every second
_AGREES = 5.0  # seconds by which two clocks may differ and still mean the same (clock.lua)
NO_FSYNC = (
    "MAILQUEUE['DURABILITY'] = 'fsync' needs a journal on Valkey, or on Redis 7.2 or later, with "
    "an append-only file (`appendonly yes`) that it syncs (`appendfsync everysec` or `always`)"
)
_IN_HAND = (State.SENDING, State.COMMITTING)  # few, which share a set: a commit is written once
# Earlier versions had a set for what is committing, too.
_SETS = dict.fromkeys(_IN_HAND, _IN_HAND)


class Reader:
    """The messages of one queue, to be looked at.

    All methods raise JournalUnavailable when the server can't be reached or refuses.
    """

    def __init__(
        self,
        client: Client,
        queue: str,
        sealer: Sealer | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.queue = queue
        self._clock = clock  # this program's, which may differ from the journal's
        self.sealer = sealer or Sealer()
        self._client = client
        self._prefix = f"mailqueue:{{{queue}}}"
        self._script = Script(client, SCRIPT)

    # -- the messages

    def counts(self) -> dict[State, int]:
        """How many messages are in each state."""
        found = self._call("counts", list(State))
        return {state: int(count) for state, count in zip(State, found, strict=True)}

    def totals(self) -> dict[str, int]:
        """How many were ever accepted, and how often each final state was reached."""
        with translating_errors(self._client):
            found: Mapping[Any, Any] = self._client.hgetall(f"{self._prefix}:totals")
        return {name: int(count) for name, count in found.items()}

    def ids(self, state: State, *, newest_first: bool = False) -> Iterator[str]:
        """The ids in that state, by the time when they entered it."""
        if state in _IN_HAND:
            yield from self._in_hand(state, newest_first)
            return
        start, page = 0, 500
        while True:
            with translating_errors(self._client):
                key = f"{self._prefix}:state:{state}"
                found = self._client.zrange(key, start, start + page - 1, desc=newest_first)
            yield from map(str, found)
            if len(found) < page:
                return
            start += page

    def ids_at_once(self, states: Sequence[State], most: int | None = None) -> list[str]:
        """The ids in those states, all at one moment, the newest first within each of them.

        What moves from one state to another is in one of them; read one after the other, it could
        be in none. With ``most``, there are no more of each state.
        """
        sets = dict.fromkeys(name for state in states for name in _SETS.get(state, (state,)))
        last = -1 if most is None else most - 1
        with translating_errors(self._client):
            pipeline = self._client.pipeline(transaction=True)
            for name in sets:
                pipeline.zrange(f"{self._prefix}:state:{name}", 0, last, desc=True)
            found = pipeline.execute()
        return list(dict.fromkeys(str(id_) for ids in found for id_ in ids))

    def scan(self, state: State) -> Iterator[str]:
        """The ids in that state, in no order; none is missed that stays in it meanwhile."""
        if state in _IN_HAND:
            yield from self._in_hand(state, newest_first=False)
            return
        with translating_errors(self._client):
            for id_, _ in self._client.zscan_iter(f"{self._prefix}:state:{state}", count=500):
                yield str(id_)

    def read(self, ids: Sequence[str]) -> list[Record]:
        """The records of those ids that exist, with times as on this program's clock."""
        with translating_errors(self._client):
            pipeline = self._client.pipeline(transaction=False)
            for id_ in ids:
                pipeline.hgetall(f"{self._prefix}:message:{id_}")
            rows = pipeline.execute()
        shift = ms(self._behind())
        return [
            read_record(id_, self.queue, row, self.sealer, shift)
            for id_, row in zip(ids, rows, strict=True)
            if row
        ]

    def payload(self, id_: str) -> str | None:
        """The payload as it was accepted, or None where it is gone."""
        with translating_errors(self._client):
            found = self._client.hmget(f"{self._prefix}:message:{id_}", ["state", "payload"])
        state, payload = found
        return None if payload is None or state in WITHOUT_PAYLOAD else str(payload)

    def results_of(self, claim: Claim) -> dict[str, Result]:
        """The results of those recipients that earlier attempts have settled."""
        return read_results(self.sealer.open(claim.results)) if claim.results != "{}" else {}

    def blob(self, name: str) -> str | None:
        """A large attachment by its SHA-256, or None where it is gone."""
        with translating_errors(self._client):
            found = self._client.get(f"{self._prefix}:blob:{name}")
        return None if found is None else self.sealer.open(str(found))

    # -- workers and server

    def pulse(self, *, alive_within: float = ALIVE_WITHIN) -> Pulse:
        """Tell the workers whose timers looked within so many seconds, and how the queue moves."""
        return read_pulse(self._call("pulse", [ms(alive_within)]))

    def alarms(self) -> list[Alarm]:
        """What keeps workers from sending, as far as they could say so."""
        opened = self.sealer.readable
        return [
            Alarm(source, opened(reason))
            for source, reason in read_alarms(self._call("alarms", []))
        ]

    def is_queued_in(self, queues: Sequence[str]) -> bool:
        """Whether anything in one of those queues, on the same server, waits for a worker."""
        with translating_errors(self._client):
            asked = self._client.pipeline(transaction=False)
            for queue in queues:
                asked.zcard(f"mailqueue:{{{queue}}}:state:{State.QUEUED}")
            return any(asked.execute())

    def read_clock(self) -> ServerClock:
        """What the server's clock says."""
        return read_clock(self._call("read_clock", []))

    def server(self) -> dict[str, Any]:
        """What the server says of itself: version, persistence, eviction. Some say nothing."""
        with translating_errors(self._client):
            try:
                found: dict[str, Any] = self._client.info()
            except redis.ResponseError as error:
                if "unknown command" in str(error).lower():
                    return {}
                raise
        return found

    def obstacle(self) -> str:
        """What keeps the server from taking writes, and what to do; "" where nothing does."""
        found = condition(self._client)
        return describe(self._client, found) if found else ""

    def try_login(self) -> None:
        """Write, and call the script. Raises JournalUnavailable where the login may not."""
        try_to_write(self._client)
        self.counts()

    def check(self, *, fsync: bool = False) -> None:
        """Raise ImproperlyConfigured where the server would break what we promise.

        It must be new enough and evict nothing; for ``fsync`` it must keep an append-only file and
        know ``WAITAOF`` (Redis 7.2, Valkey), without which nobody learns when a message is on the
        disk.
        """
        server = self.server()
        if too_old := problem_of_version(server):
            raise ImproperlyConfigured(too_old)
        policy = server.get("maxmemory_policy", "noeviction")
        if policy.startswith("allkeys"):
            raise ImproperlyConfigured(
                f"the journal's server may evict messages: its maxmemory-policy is {policy}; "
                "set it to noeviction"
            )
        if fsync and not self.can_fsync():
            raise ImproperlyConfigured(NO_FSYNC)

    def can_fsync(self) -> bool:
        """Whether the server keeps an append-only file, and can tell when it is on the disk.

        With ``appendfsync no`` it never is, as far as the server knows.
        """
        if not self.server().get("aof_enabled"):
            return False
        with translating_errors(self._client):
            try:
                self._client.waitaof(0, 0, 1)
            except redis.ResponseError as error:
                return "unknown command" not in str(error).lower()
            try:
                found = self._client.config_get("appendfsync")
            except redis.ResponseError:  # hired servers may keep their configuration to themselves
                return True
        return found.get("appendfsync") != "no"

    # -- how it is done

    def _in_hand(self, state: State, newest_first: bool) -> list[str]:
        found = [one for one in read_in_hand(self._call("in_hand", [])) if one.state is state]
        found.sort(key=lambda one: one.updated, reverse=newest_first)
        return [one.id for one in found]

    def _behind(self) -> float:
        """By how many seconds the journal's clock is behind this program's; 0 where they agree."""
        behind = self._clock() - self.read_clock().journal_time
        return behind if abs(behind) > _AGREES else 0.0

    def _fields(self, name: str, ids: Sequence[str]) -> list[str | None]:
        with translating_errors(self._client):
            pipeline = self._client.pipeline(transaction=False)
            for id_ in ids:
                pipeline.hget(f"{self._prefix}:message:{id_}", name)
            return list(pipeline.execute())

    def _call(
        self,
        operation: str,
        arguments: Sequence[str | int],
        unknown: tuple[str, ...] = (),
        meanwhile: Callable[[], object] | None = None,
    ) -> Any:
        return self._script.call(self._prefix, [operation, *arguments], unknown, meanwhile)


def known_queues(client: Client) -> set[str]:
    """The queues that anything was ever accepted for."""
    with translating_errors(client):
        return {str(queue) for queue in client.smembers(QUEUES)}


def now_on(client: Client) -> datetime:
    """The time on the server's clock, by which all due times are meant."""
    with translating_errors(client):
        seconds, microseconds = client.time()
    return datetime.fromtimestamp(seconds + microseconds / 1e6, UTC)


def ms(seconds: float) -> int:
    """Milliseconds, in which the journal counts."""
    return round(seconds * 1000)
