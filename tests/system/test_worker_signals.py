"""A worker has its timer because it has the task, and by nothing else that it happens to import."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mailqueue import EmailMessage
from mailqueue.monitor import report
from tests.support import wait_until

# A project's Celery application that has the task, and imports nothing else of mailqueue.
BARE = """
import os
from celery import Celery

app = Celery("bare", broker=os.environ["MAILQUEUE_BROKER_URL"], include=["mailqueue.tasks"])
"""


@pytest.mark.usefixtures("producer")
def test_a_worker_that_only_imports_the_task_has_its_timer(start_worker, tmp_path, smtp_server):
    """A message that no task was published for, since it is scheduled, is sent at its time."""
    (tmp_path / "bare.py").write_text(BARE)
    worker = start_worker(app="bare", PYTHONPATH=str(tmp_path))
    message = EmailMessage("s", "b", "from@example.com", ["to@example.com"])
    message.send_at = datetime.now(UTC) + timedelta(seconds=1)
    message.send()
    assert report.show(message.mailqueue_id)["state"] == "scheduled"
    wait_until(lambda: len(smtp_server.received) == 1, 30, worker.explain)
