"""What the tests of the journal's contract share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TypeVar

import pytest
import redis

from mailqueue.delivery.gate.breaker import SharedBreaker
from mailqueue.queue.journal import Entry, Journal, Policy, Result, Settlement
from mailqueue.state import State
from mailqueue.store.script import Script
from tests.support import NEEDS_REDIS

REAL_SERVERS = ["valkey", pytest.param("redis", marks=NEEDS_REDIS)]

# Times for tests: long enough that nothing ends by itself, unless a test makes it short.
POLICY = Policy(lease=30, grace=30, regrace=30, doubt=30, reply_wait=30, max_lost=3)
NOW = Policy(lease=0, grace=0, regrace=0, doubt=0, reply_wait=0, max_lost=3)

# What a script on a clock of ours begins with: it asks that for the time, and what it lets expire
# is only noted, with the time of its end.
PRELUDE = """
local server, clock = redis, tonumber(redis.call('GET', 'clock'))
local redis = { error_reply = server.error_reply }
function redis.call(command, key, ...)
  if command == 'TIME' then return { math.floor(clock / 1000), clock % 1000 * 1000 } end
  if command == 'PEXPIRE' then return server.call('HSET', 'clock:ends', key, clock + (...)) end
  local last = select('#', ...)
  if command == 'SET' and last > 2 and select(last - 1, ...) == 'PX' then
    local done = server.call(command, key, unpack({ ... }, 1, last - 2))
    if done then server.call('HSET', 'clock:ends', key, clock + select(last, ...)) end
    return done
  end
  return server.call(command, key, ...)
end
"""
OnClock = TypeVar("OnClock", Journal, SharedBreaker)


class Clock:
    """A time that moves only when a test moves it, for journals and breakers that are put on it.

    It counts in milliseconds, and what a script lets expire is gone as soon as it says so.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._ahead = 0.0  # of the server's clock, of the time that it is
        self.set(1_800_000_000)

    def on(self, asker: OnClock) -> OnClock:
        """Have it know no other time; whoever asks its server by other ways isn't concerned."""
        asker._script = Script(self._client, PRELUDE + asker._script.text)
        if isinstance(asker, Journal):
            asker._clock = lambda: self.seconds
        return asker

    def set(self, seconds: float) -> None:
        """Make it that time, in seconds since 1970."""
        self.seconds = seconds
        says = round((seconds + self._ahead) * 1000)
        pipeline = self._client.pipeline()
        pipeline.set("clock", says)
        pipeline.hgetall("clock:ends")
        _, ends = pipeline.execute()
        for key, end in ends.items():
            if int(end) < says:  # as servers do
                self._client.delete(key)
                self._client.hdel("clock:ends", key)

    def step(self, seconds: float) -> None:
        """Have the server's clock step, which knows no better; no time passes."""
        self._ahead += seconds
        self.set(self.seconds)

    def advance(self, seconds: float) -> None:
        self.set(self.seconds + seconds)

    def after(self, seconds: float) -> datetime:
        """The time that it will be after these seconds."""
        return datetime.fromtimestamp(self.seconds + seconds, UTC)


def under(journal: Journal, policy: Policy) -> Journal:
    """The same journal on the same clock, with other times."""
    other = Journal(journal._client, journal.queue, policy, clock=journal._clock)
    other._script = journal._script
    return other


def hasty(journal: Journal) -> Journal:
    """The same journal, with all times at an end at once."""
    return under(journal, NOW)


def entry(id_: str, **changes: object) -> Entry:
    summary = {"subject": f"about {id_}", "from": "a@x", "to": ["b@x", "c@x"]}
    values = {
        "id": id_,
        "payload": f"payload of {id_}",
        "digest": f"digest of {id_}",
        "summary": summary,
    }
    return Entry(**{**values, **changes})


def accepted(journal: Journal, *ids: str) -> None:
    assert journal.accept([entry(id_) for id_ in ids]) == [(id_, True) for id_ in ids]


def claimed(journal: Journal, id_: str):
    claims, _ = journal.claim([(id_, "")])
    assert [claim.id for claim in claims] == [id_]
    return claims[0]


def ids_of(due) -> list[str]:
    return [message.id for message in due]


def state(journal: Journal, id_: str) -> State:
    return journal.read([id_])[0].state


SENT = Settlement(State.SENT, "250 ok", {"b@x": Result(State.SENT, "250 ok")})


def stored(journal: Journal) -> list[str]:
    """The names of the attachments that the journal holds."""
    return [key.rpartition(":")[2] for key in journal._client.scan_iter("*:blob:*")]
