"""Which broker our Celery applications use."""

from __future__ import annotations

import pytest

from mailqueue.celery import create_app
from mailqueue.conf import configure
from mailqueue.queue.broker import broker_name, producer_app

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


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/1", "redis://127.0.0.1:6379/1"),
        ("redis://[::1]:6379/1", "redis://[::1]:6379/1"),
        ("redis://ann:secret@host/1", "redis://ann:***@host/1"),
        ("unix:///run/valkey.sock?db=1", "redis+socket:///run/valkey.sock?virtual_host=1"),
        ("amqp://guest:secret@host//", "amqp://guest:***@host//"),
        (
            "sentinel://:secret@a/1?master_name=m;sentinel://:secret@b/1",
            "sentinel://:***@a/1;sentinel://:***@b/1",
        ),
    ],
)
def test_the_address_is_shown_as_it_is_set(url: str, shown: str) -> None:
    """Without a password, and without the sign of one where there is none."""
    configure(MAILQUEUE={"BROKER_URL": url})
    assert broker_name() == shown
