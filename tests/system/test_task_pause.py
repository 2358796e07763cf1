"""What a task does whose worker may not use its mailer now."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from mailqueue import get_connection
from mailqueue.delivery.opening import close_connections, shared_breaker
from mailqueue.delivery.trouble import ServerTrouble
from mailqueue.queue.journal import open_journal
from mailqueue.store.client import connect
from mailqueue.tasks import deliver
from tests.line import letters


@pytest.fixture
def task(producer) -> Iterator[list[dict[str, str]]]:
    """The messages that a task names, whose mailer another worker has found in trouble."""
    messages = letters(3)
    get_connection().send_messages(messages)
    shared_breaker().note_failure(ServerTrouble("421 down"))
    yield [{"id": message.mailqueue_id} for message in messages]
    close_connections()


def delivered(task: list[dict[str, str]]) -> dict[str, int]:
    """What comes of it in a worker of its own, whose connection knows no other mailer."""
    with ThreadPoolExecutor() as threads:
        return threads.submit(deliver, "mailqueue", task).result(30)


def test_a_task_claims_nothing_for_a_mailer_that_is_left_alone(task, redis_url, smtp_server):
    """Nothing is taken from the queue only to be given back."""
    assert delivered(task) == {}
    assert connect(redis_url, 2.0).get("mailqueue:{mailqueue}:fence") is None
    assert smtp_server.sessions == 0


def test_what_a_task_could_not_send_is_due_at_once(task):
    """As soon as the mailer may be used, a timer finds all that the task had named."""
    assert delivered(task) == {}
    assert {due.id for due in open_journal().release()} == {message["id"] for message in task}
