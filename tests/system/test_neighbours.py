"""Who shares the journal's database is named before he flushes it."""

from __future__ import annotations

import pytest
import redis

from mailqueue.conf.server import journal_url
from mailqueue.monitor.check import check
from mailqueue.monitor.neighbour import (
    look_for_neighbours,
    warnings_of_neighbours,
    warnings_of_one_database,
)
from mailqueue.queue.journal import open_journal
from mailqueue.store.client import connect
from tests.contracts.journals import entry
from tests.line import send

SOCKET = "/run/valkey.sock"
PAIRS = [
    ("redis://localhost:6379/0", "", True),
    ("redis://localhost", "redis://127.0.0.1:6379/0", True),
    ("redis://:secret@h/3", "rediss://h:6379/3", True),
    ("valkey://h/1", "redis://h/1", True),
    (f"unix://{SOCKET}?db=1", f"redis+socket://{SOCKET}?virtual_host=1", True),
    ("redis://localhost:6379/1", "redis://localhost:6379/0", False),
    ("redis://one/0", "redis://other/0", False),
    ("redis://one:1/0", "redis://one:2/0", False),
    (f"unix://{SOCKET}?db=1", f"unix://{SOCKET}?db=0", False),
    ("amqp://guest@h//", "redis://h/0", False),
    ("memory://", "redis://h/0", False),
    ("", "", False),  # the embedded server
]


@pytest.mark.parametrize(("broker", "journal", "one"), PAIRS)
def test_one_database_is_known_by_its_addresses(broker, journal, one, monkeypatch):
    """However each of them is spelt."""
    monkeypatch.setenv("MAILQUEUE_BROKER_URL", broker)
    monkeypatch.setenv("MAILQUEUE_JOURNAL_URL", journal)
    (warning,) = warnings_of_one_database() or [""]
    assert ("takes the mail along" in warning) == one
    assert "secret" not in warning


def test_the_broker_is_told_from_strangers(producer, redis_url):
    """By kombu's own names, and by those of its queues, which are a project's as well."""
    open_journal().accept([entry("m")])
    send(1, priority="low")
    others = [":1:views.cache", "celery-task-meta-1", "mailqueue_of_somebody", "celerybeat"]
    with redis.Redis.from_url(redis_url) as client:
        client.lpush("reports", "task")
        client.sadd("_kombu.binding.reports", "x")
        client.hset("unacked", "tag", "x")
        for key in others:
            client.set(key, "x")
    found = look_for_neighbours(connect(journal_url(), 30.0), ["mailqueue"])
    assert {"reports", "unacked", "_kombu.binding.reports"} <= set(found.broker)
    (tasks,) = [key for key in found.broker if key.startswith("mailqueue")]
    assert tasks.startswith("mailqueue\x06")  # as kombu names the list of that priority
    assert found.strangers == sorted(others)


def test_what_a_broker_left_is_no_reason_to_part_what_is_parted(producer, redis_url, monkeypatch):
    """Where the broker has a database of its own, its old keys are named as what may go."""
    with redis.Redis.from_url(redis_url) as client:
        client.sadd("_kombu.binding.mailqueue", "x")
    monkeypatch.setenv("MAILQUEUE_JOURNAL_URL", redis_url)
    monkeypatch.setenv("MAILQUEUE_BROKER_URL", redis_url.removesuffix("/0") + "/1")
    (warning,) = warnings_of_neighbours(connect(redis_url, 30.0), ["mailqueue"])
    assert "are one database" not in warning
    assert "'_kombu.binding.mailqueue'" in warning
    assert "delete them" in warning


def test_check_names_a_sample_of_strangers(producer, redis_url):
    """Three of them, and how many more there are; the broker is named once."""
    with redis.Redis.from_url(redis_url) as client:
        client.lpush("mailqueue", "task")
        for number in range(5):
            client.set(f":1:page-{number}", "x")
    (journal,) = [part for part in check()["checks"] if part["name"] == "journal"]
    assert journal["problems"] == []
    _one_database, strangers = journal["warnings"]
    assert "':1:page-0', ':1:page-1', ':1:page-2' and 2 more keys" in strangers
