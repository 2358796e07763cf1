"""What the options of a project's own Celery application do to mail, and what they don't."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import pytest
import redis
from celery import Celery
from celery.exceptions import AlwaysEagerIgnored

import mailqueue.tasks  # noqa: F401 - registers the task with every application
from mailqueue.errors import ImproperlyConfigured
from mailqueue.queue.journal import open_journal
from mailqueue.state import State
from tests.contracts.delivering import letter, record

DELIVER = "mailqueue.deliver"


@pytest.fixture
def project(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Celery]:
    """A project's application with such options, through which this process publishes."""

    def made(**options: object) -> Celery:
        app = Celery("shop", broker=redis_url, set_as_current=False)
        app.conf.update(options)
        monkeypatch.setattr(sys.modules[__name__], "shop", app, raising=False)
        monkeypatch.setenv("MAILQUEUE_CELERY_APP", f"{__name__}:shop")
        monkeypatch.setenv("MAILQUEUE_JOURNAL_URL", redis_url)
        monkeypatch.setenv("EMAIL_BACKEND", "mailqueue.backends.queue.EmailBackend")
        return app

    return made


def published(redis_url: str) -> list[dict]:
    """The tasks that lie in the broker."""
    with redis.Redis.from_url(redis_url) as broker:
        return [json.loads(task) for task in broker.lrange("mailqueue\x06\x163", 0, -1)]


@pytest.mark.parametrize("path", ["nowhere:app", f"{__name__}:letter", __name__])
def test_a_wrong_application_is_an_error_before_anything_is_accepted(path, project, monkeypatch):
    """A path that leads to no module, to something else, or to none: `send()` names it."""
    project()
    monkeypatch.setenv("MAILQUEUE_CELERY_APP", path)
    with pytest.raises(ImproperlyConfigured, match=f"'{path}'"):
        letter().send()
    assert open_journal().totals() == {}


def test_an_eager_project_delivers_nothing_in_the_program(project, redis_url, smtp_server):
    """With `task_always_eager` mail is queued for a worker all the same, and Celery warns."""
    project(task_always_eager=True)
    message = letter()
    with pytest.warns(AlwaysEagerIgnored):
        assert message.send() == 1
    assert record(open_journal(), message.mailqueue_id).state is State.QUEUED
    assert len(published(redis_url)) == 1
    assert smtp_server.received == []


def test_a_task_is_json_whatever_the_projects_tasks_are(project, redis_url):
    """A project that pickles its own tasks publishes mailqueue's as JSON."""
    project(task_serializer="pickle", accept_content=["json", "pickle"])
    letter().send()
    (task,) = published(redis_url)
    assert task["content-type"] == "application/json"


ELSEWHERE = {"queue": "slow", "exchange": "elsewhere", "routing_key": "elsewhere"}


def diverted(*_: object, **__: object) -> dict[str, object]:
    """A project's router, as a function."""
    return {**ELSEWHERE, "expires": 0}


def fails(*_: object, **__: object) -> None:
    """A project's router that knows its own tasks only."""
    raise LookupError("mailqueue.deliver")


@pytest.mark.parametrize(
    "options",
    [
        {"task_routes": {"*": ELSEWHERE}},
        {"task_routes": {DELIVER: ELSEWHERE}},
        {"task_routes": diverted},
        {"task_routes": (fails,)},
        {"task_annotations": {"*": ELSEWHERE | {"expires": -1, "compression": "bzip2"}}},
        {"task_create_missing_queues": False, "task_queues": {"celery": {}}},
        {"task_ignore_result": False, "result_backend": "nowhere://"},
        {"task_protocol": 1},
        {"task_send_sent_event": True},
        {"task_publish_retry": True, "task_publish_retry_policy": {"max_retries": 99}},
    ],
    ids=lambda options: next(iter(options)),
)
def test_a_task_is_published_to_its_queue_whatever_the_projects_tasks_are(
    options, project, redis_url
):
    """A route that takes every task elsewhere takes no mail there."""
    project(**options)
    letter().send()
    (task,) = published(redis_url)
    assert task["properties"]["delivery_info"]["routing_key"] == "mailqueue"
    assert task["headers"].get("expires") is None


@pytest.mark.parametrize(
    ("options", "name", "value"),
    [
        ({"task_acks_late": True, "task_reject_on_worker_lost": True}, "acks_late", False),
        ({"task_ignore_result": False, "result_backend": "cache+memory://"}, "ignore_result", True),
        ({"task_time_limit": 5}, "time_limit", 0),
        ({"task_soft_time_limit": 5}, "soft_time_limit", 0),
        ({"task_default_rate_limit": "10/m"}, "rate_limit", 0),
        ({"task_annotations": {"*": {"rate_limit": "9/m"}}}, "rate_limit", 0),
        ({"task_annotations": {DELIVER: {"time_limit": 7}}}, "time_limit", 0),
    ],
)
def test_an_option_holds_for_mail_as_the_document_says(project, options, name, value):
    """Options of a project change no limit, rate, result or acknowledgement of mail."""
    assert getattr(project(**options).tasks[DELIVER], name) == value
