"""What the tests of the journal's contract share."""

from __future__ import annotations

import pytest

from mailqueue.journal import Entry, Journal, Policy, Result, Settlement, State
from tests.support import NEEDS_REDIS

REAL_SERVERS = ["valkey", pytest.param("redis", marks=NEEDS_REDIS)]

# Times for tests: long enough that nothing ends by itself, unless a test makes it short.
POLICY = Policy(lease=30, grace=30, regrace=30, doubt=30, reply_wait=30, max_lost=3)
NOW = Policy(lease=0, grace=0, regrace=0, doubt=0, reply_wait=0, max_lost=3)


def hasty(journal: Journal) -> Journal:
    """The same journal, with all times at an end at once."""
    return Journal(journal._client, journal.queue, NOW)


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
