"""What becomes of the messages that a task had no time for."""

from __future__ import annotations

import json
import zlib
from base64 import b64decode
from typing import Any

import pytest
import redis

from mailqueue import get_connection
from mailqueue.delivery import batch
from mailqueue.delivery.opening import close_connections
from mailqueue.queue.journal import open_journal
from mailqueue.state import State
from mailqueue.tasks import deliver
from tests.line import letters


def published(redis_url: str) -> list[dict[str, Any]]:
    """The arguments of the tasks that lie in the broker, the newest first."""
    with redis.Redis.from_url(redis_url) as broker:
        tasks = [json.loads(task) for task in broker.lrange("mailqueue\x06\x163", 0, -1)]
    bodies = [loads(b64decode(task["body"]), task) for task in tasks]
    return [json.loads(body)[1] for body in bodies]


def loads(body: bytes, task: dict[str, Any]) -> bytes:
    """A body as it was before it was compressed."""
    return zlib.decompress(body) if "compression" in task["headers"] else body


@pytest.mark.usefixtures("producer")
def test_what_a_task_had_no_time_for_is_due_at_once(monkeypatch, request, redis_url):
    """It is in other tasks at once: nobody waits for a timer, or for a task that got lost."""
    monkeypatch.setattr(batch, "_LASTS", 0.0)
    messages = letters(20)
    get_connection().send_messages(messages)
    request.addfinalizer(close_connections)
    sent = deliver("mailqueue", [{"id": message.mailqueue_id} for message in messages])["sent"]
    left = [*open_journal().ids(State.QUEUED)]
    assert 0 < sent == 20 - len(left)
    *others, _first = published(redis_url)
    assert sorted(message["id"] for task in others for message in task["messages"]) == sorted(left)
    assert open_journal().release() == []
