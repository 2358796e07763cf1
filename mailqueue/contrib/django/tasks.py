"""Where a project's ``app.autodiscover_tasks()`` finds the task that delivers."""

from mailqueue.tasks import deliver

__all__ = ["deliver"]
