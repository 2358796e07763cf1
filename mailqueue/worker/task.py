"""What the task that delivers is made of: nothing that a project's options could change."""

from __future__ import annotations

from typing import Any

from celery import Celery, Task
from celery.backends.base import DisabledBackend


class MailTask(Task):  # type: ignore[misc]
    """The base of the task that delivers, in place of the ``task_cls`` of a project's application.

    An attribute that is None here would get the value of a project's option as the task is bound.
    A task that is acknowledged late would come a second time. One that is killed by a time limit,
    in the middle of its messages, leaves the one in hand in doubt. ``0`` stands for no limit.
    """

    acks_late = False
    acks_on_failure = acks_on_failure_or_timeout = acks_on_timeout = True
    reject_on_worker_lost = retry_on_worker_lost = False
    max_retries = 0
    time_limit = soft_time_limit = rate_limit = 0
    serializer = "json"
    # The journal has the results. A project's result backend is not even asked.
    ignore_result = True
    track_started = store_eager_result = store_errors_even_if_ignored = False

    @classmethod
    def annotate(cls) -> None:
        """Pass over ``task_annotations``: what they say of every task is meant for the project's.

        What they say of this one has no effect either, and the worker says so (``queue.project``).
        """

    @classmethod
    def on_bound(cls, app: Celery) -> Any:
        """Have no result backend, whichever the project has."""
        cls._backend = DisabledBackend(app)
