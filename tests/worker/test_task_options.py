"""What the options of a project's Celery application don't change of the task that delivers."""

import pytest
from celery import Celery

from mailqueue.tasks import deliver


@pytest.fixture
def project() -> Celery:
    """An application whose own tasks are acknowledged late, tried again, and ended by time."""
    app = Celery("project", set_as_current=False)
    app.conf.update(
        task_acks_late=True, task_time_limit=30, task_soft_time_limit=20, task_ignore_result=False
    )
    return app


def test_a_task_that_delivers_comes_once(project):
    """It is acknowledged when it is taken: another copy of it would only be passed over."""
    task = project.tasks[deliver.name]
    assert (task.acks_late, task.max_retries, task.ignore_result) == (False, 0, True)


def test_a_task_that_delivers_has_all_the_time(project):
    """The project's limits would end it between the dot and the server's reply."""
    task = project.tasks[deliver.name]
    assert (task.time_limit, task.soft_time_limit) == (0, 0)
