"""What an application asks for one message: when, how urgently, by which queue."""

from __future__ import annotations

import json
from base64 import b64decode
from datetime import UTC, datetime, timedelta

import pytest
import redis

from mailqueue import get_connection
from mailqueue.errors import PayloadError
from mailqueue.monitor import report
from tests.support import wait_until
from tests.system.letters import TASKS, fate, letter, wait_for_state

pytestmark = pytest.mark.usefixtures("producer")


def test_priority_decides_which_waiting_message_goes_first(start_worker, smtp_server):
    """High before normal before low, whatever the order in which they were sent."""
    for priority in ["low", "normal", "high"]:
        message = letter(subject=priority)
        message.priority = priority
        message.send()
    worker = start_worker()
    wait_until(lambda: len(smtp_server.received) == 3, 20, worker.explain)
    assert [m.parsed["Subject"] for m in smtp_server.received] == ["high", "normal", "low"]


def test_a_message_to_be_sent_later_is_sent_then_and_not_before(
    start_worker, smtp_server, redis_url
):
    """`send_at` holds it back, without any task in the broker."""
    message, other = letter(subject="later"), letter(subject="now")
    at = datetime.now(UTC) + timedelta(seconds=4)
    message.send_at = at
    get_connection().send_messages([message, other])
    assert fate(message)["state"] == "scheduled"
    with redis.Redis.from_url(redis_url) as broker:
        (task,) = broker.lrange(TASKS, 0, -1)
    _, named, _ = json.loads(b64decode(json.loads(task)["body"]))
    assert named["messages"] == [{"id": other.mailqueue_id}]
    worker = start_worker()
    wait_for_state(message, "sent", worker)
    assert datetime.now(UTC) >= at
    assert [m.parsed["Subject"] for m in smtp_server.received] == ["now", "later"]


def test_a_message_that_is_late_expires(start_worker, smtp_server):
    """A code that is of no use any more is not sent."""
    message, other = letter(subject="late"), letter(subject="other")
    message.expires_at = datetime.now(UTC) + timedelta(milliseconds=10)
    get_connection().send_messages([message, other])
    wait_until(lambda: datetime.now(UTC) > message.expires_at, 5)
    worker = start_worker()
    wait_for_state(message, "expired", worker)
    wait_for_state(other, "sent", worker)
    assert [m.parsed["Subject"] for m in smtp_server.received] == ["other"]


def test_a_message_may_name_its_queue(start_worker, smtp_server):
    """A worker of that queue delivers it; those of others don't."""
    message = letter()
    message.queue = "urgent"
    message.send()
    assert fate(message)["queue"] == "urgent"
    other = letter()
    other.send()
    wait_for_state(other, "sent", start_worker())
    assert fate(message)["state"] == "queued"
    wait_for_state(message, "sent", start_worker("-Q", "urgent"))


def test_an_idempotency_key_makes_one_message_of_two(start_worker, smtp_server):
    """The second is accepted as the first, and has its id."""
    first, second = letter(subject="one"), letter(subject="two")
    first.idempotency_key = second.idempotency_key = "order 17"
    assert [first.send(), second.send()] == [1, 1]
    assert first.mailqueue_id == second.mailqueue_id
    wait_for_state(first, "sent", start_worker())
    assert [m.parsed["Subject"] for m in smtp_server.received] == ["one"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("send_at", "tomorrow"), ("expires_at", True), ("priority", "urgent"), ("queue", "a b"),
     ("idempotency_key", ""), ("idempotency_key", 17), ("priority", 0), ("queue", 0)],
)  # fmt: skip
def test_a_wrong_option_is_an_error_that_names_it(name, value):
    """Nothing is accepted."""
    message = letter()
    setattr(message, name, value)
    with pytest.raises(ValueError, match=f"the message's {name} = {value!r}"):
        message.send()
    assert report.find(report.Filter()) == []


@pytest.mark.parametrize("name", ["send_at", "expires_at"])
def test_a_time_beyond_all_calendars_is_refused(name):
    """It would come back from the journal as a time in the year 10000."""
    message = letter()
    setattr(message, name, datetime.max.replace(tzinfo=UTC))
    with pytest.raises(PayloadError, match=f"the message's {name} = .* year 9998"):
        message.send()
    assert report.find(report.Filter()) == []


def test_what_expired_before_1970_is_expired(start_worker, smtp_server):
    """A time that is long past isn't taken for none."""
    message = letter()
    message.expires_at = datetime(1969, 7, 20, tzinfo=UTC)
    message.send()
    wait_for_state(message, "expired", start_worker())
