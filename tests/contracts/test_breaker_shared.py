"""What a breaker that all workers share keeps to itself, and from whom it keeps nobody."""

from __future__ import annotations

import pytest
import redis
from cryptography.fernet import Fernet

from mailqueue.delivery.gate.breaker import Pauses, SharedBreaker, troubles
from mailqueue.delivery.trouble import Misconfigured, ServerTrouble
from mailqueue.store.client import connect
from mailqueue.store.sealing import Sealer

NAME = "smtp.example.com:25"
KEY = "mailqueue:{mailer:smtp.example.com:25}:breaker"
REFUSED = ServerTrouble("421 for ann@example.com")
PAUSES = Pauses(first=30, longest=60, first_of_alarm=60, longest_of_alarm=300)


@pytest.fixture
def client(redis_url: str) -> redis.Redis:
    return connect(redis_url, 2.0)


def test_a_closed_breaker_keeps_nobody_away(client):
    """While all is well any number of workers may open connections, one after the other."""
    workers = [SharedBreaker(client, NAME, pauses=PAUSES) for _ in range(3)]
    assert [worker.ask() for worker in workers] == [(0, True, "", True)] * 3
    assert not client.exists(KEY)


def test_trouble_began_with_its_first_failure(client):
    """People are told since when a mailer can't be used, however often it was tried since."""
    one = SharedBreaker(client, NAME, pauses=PAUSES)
    one.note_failure(REFUSED)
    client.hset(KEY, mapping={"not_before": 0, "since": 1000})
    one.note_failure(REFUSED)
    (trouble,) = troubles(client, Sealer())
    assert (trouble.failures, trouble.since.timestamp()) == (2, 1)


@pytest.mark.parametrize("trouble", [REFUSED, Misconfigured("535 for ann@example.com")])
def test_what_a_server_said_is_sealed(client, trouble):
    """With SECRET_KEYS nothing that names a person lies readable in the journal's server."""
    sealer = Sealer([Fernet.generate_key().decode()])
    one = SharedBreaker(client, NAME, sealer, pauses=PAUSES)
    one.note_failure(trouble)
    assert "ann@example.com" not in str(client.hgetall(KEY))
    assert one.look().reason == trouble.reply


def test_without_the_journal_a_worker_that_failed_asks_in_vain(unused_port):
    """Its own breaker keeps it from the mailer, also where it would open a connection."""
    alone = SharedBreaker(connect(f"redis://127.0.0.1:{unused_port}/0", 0.5), NAME, pauses=PAUSES)
    alone.note_failure(REFUSED)
    found = alone.ask()
    assert found.wait > 0
    assert found[1:] == (False, REFUSED.reply, True)
