"""What becomes of the messages that a task had no time for."""

import pytest

from mailqueue import get_connection
from mailqueue.delivery import batch
from mailqueue.delivery.opening import close_connections
from mailqueue.queue.journal import open_journal
from mailqueue.state import State
from mailqueue.tasks import deliver
from tests.line import letters


@pytest.mark.usefixtures("producer")
def test_what_a_task_had_no_time_for_is_due_at_once(monkeypatch, request):
    """The next timer publishes a task for it, without the wait for a task that got lost."""
    monkeypatch.setattr(batch, "_LASTS", 0.0)
    messages = letters(20)
    get_connection().send_messages(messages)
    request.addfinalizer(close_connections)
    sent = deliver("mailqueue", [{"id": message.mailqueue_id} for message in messages])["sent"]
    left = [*open_journal().ids(State.QUEUED)]
    assert 0 < sent == 20 - len(left)
    assert sorted(due.id for due in open_journal().release()) == sorted(left)
