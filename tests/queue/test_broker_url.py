"""Which broker our Celery applications use."""

from __future__ import annotations

import pytest

from mailqueue.celery import create_app
from mailqueue.conf import configure
from mailqueue.queue.broker import producer_app

OURS = "redis://127.0.0.1:1/3"


def test_the_broker_of_the_projects_celery_is_not_taken_for_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Celery's variable CELERY_BROKER_URL is for the project's own application."""
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://127.0.0.1:2/9")
    configure(MAILQUEUE={"BROKER_URL": OURS})
    assert producer_app().conf.broker_write_url == OURS
    assert create_app().conf.broker_read_url == OURS
    assert create_app().connection_for_read().virtual_host == "3"
    assert producer_app().connection_for_write().virtual_host == "3"
