"""What the options of a project's Celery application don't change of the task that delivers."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery, Task
from celery.app.defaults import DEFAULTS
from kombu import Exchange, Queue
from kombu.serialization import registry

from mailqueue.queue.project import complaints, queue_of
from mailqueue.tasks import deliver
from mailqueue.worker.task import MailTask

DELIVER: str = deliver.name


def wrapping(_function: object) -> object:
    """What an annotation may put around a task: it never calls it."""
    return lambda *_, **__: "not delivered"


class Wrapped(Task):
    """A project's class of tasks, which ends each of them early and never runs it."""

    time_limit, soft_time_limit, rate_limit, acks_late = 5, 4, "1/h", True
    autoretry_for = (Exception,)
    Request = "nowhere:Request"

    def __call__(self, *_: object, **__: object) -> str:
        return "not delivered"

    def before_start(self, *_: object) -> None:
        raise RuntimeError("not begun")

    on_failure = on_success = on_retry = after_return = before_start


# Each option of Celery's that a task's attribute takes, as no task that delivers may have it.
HOSTILE: dict[str, object] = {
    "task_acks_late": True,
    "task_acks_on_failure": False,
    "task_acks_on_failure_or_timeout": False,
    "task_acks_on_timeout": False,
    "task_default_rate_limit": "1/h",
    "task_ignore_result": False,
    "task_reject_on_worker_lost": True,
    "task_retry_on_worker_lost": True,
    "task_serializer": "pickle",
    "task_soft_time_limit": 4,
    "task_store_eager_result": True,
    "task_store_errors_even_if_ignored": True,
    "task_time_limit": 5,
    "task_track_started": True,
}
EVERY_TASK = {
    **{name: value for name, value in vars(Wrapped).items() if name.endswith("_limit")},
    **{"acks_late": True, "autoretry_for": (Exception,), "Request": "nowhere:Request"},
    **{"ignore_result": False, "max_retries": 9, "expires": 1, "exchange": "elsewhere"},
    "@run": wrapping,
    "@__call__": wrapping,
}
# What may end, wrap, hold up or repeat a task besides, and the test that a real worker passes.
BY_A_WORKER = {
    "task_always_eager", "task_annotations", "task_create_missing_queues", "task_protocol",
    "task_routes", "task_send_sent_event", "worker_deduplicate_successful_tasks",
    "worker_disable_prefetch", "worker_max_tasks_per_child", "worker_send_task_events",
    "worker_cancel_long_running_tasks_on_connection_loss",
}  # fmt: skip
# What mail may have as any other task: how it is declared, stored and compressed by the broker,
# when a process of the pool is replaced between two tasks, how the worker logs, stops and counts.
AS_ANY_TASK = {
    "task_compression", "task_create_missing_queue_exchange_type", "task_create_missing_queue_type",
    "task_default_delivery_mode", "task_default_exchange", "task_default_exchange_type",
    "task_default_priority", "task_default_queue", "task_default_queue_type",
    "task_default_routing_key", "task_inherit_parent_priority", "task_publish_retry",
    "task_publish_retry_policy", "task_queue_max_priority", "task_queues",
    "task_allow_error_cb_on_chord_header", "task_eager_propagates", "task_remote_tracebacks",
    "task_repr_maxlevels",
    "worker_agent", "worker_autoscaler", "worker_concurrency", "worker_consumer",
    "worker_detect_quorum_queues", "worker_direct", "worker_disable_rate_limits",
    "worker_enable_prefetch_count_reduction", "worker_enable_remote_control",
    "worker_enable_soft_shutdown_on_idle", "worker_eta_task_limit", "worker_hijack_root_logger",
    "worker_log_color", "worker_log_datefmt", "worker_log_format", "worker_lost_wait",
    "worker_max_memory_per_child", "worker_pool", "worker_pool_putlocks", "worker_pool_restarts",
    "worker_pool_start_method", "worker_prefetch_multiplier", "worker_proc_alive_timeout",
    "worker_redirect_stdouts", "worker_redirect_stdouts_level", "worker_soft_shutdown_timeout",
    "worker_state_db", "worker_task_log_datefmt", "worker_task_log_format", "worker_timer",
    "worker_timer_precision",
}  # fmt: skip


def application(**options: Any) -> Celery:
    """A project's application that isn't any other test's."""
    task_cls = options.pop("task_cls", None)
    app = Celery("project", set_as_current=False, task_cls=task_cls)
    app.conf.update(options)
    return app


def attributes(app: Celery) -> dict[str, object]:
    """What Celery's worker and Celery's publishing look at."""
    task = app.tasks[DELIVER]
    names = {name for name in dir(Task) if not name.startswith("_")} - {"app", "backend"}
    names -= {"priority", "request", "request_stack", "AsyncResult", "from_config"}
    names -= {name for name in names if callable(getattr(Task, name))}
    return {name: getattr(task, name) for name in names}


OWN = attributes(application())


def test_every_option_of_celerys_is_in_a_table():
    """A new version's option is looked at before anybody's mail meets it."""
    options = {name for name in DEFAULTS if name.startswith(("task_", "worker_"))}
    assert options == {*HOSTILE} | BY_A_WORKER | AS_ANY_TASK


def test_every_attribute_that_an_option_sets_is_tried():
    """All but the priority, which each task of ours is published with."""
    options = {option for _, option in Task.from_config}
    assert options == {*HOSTILE, "task_default_priority"}


@pytest.mark.parametrize("option", HOSTILE)
def test_no_option_changes_the_task_that_delivers(option):
    """It comes once, has all the time, waits for no rate, and no result of it is kept."""
    assert attributes(application(**{option: HOSTILE[option]})) == OWN


@pytest.mark.parametrize("name", ["*", DELIVER])
@pytest.mark.parametrize("form", [dict, lambda found: [found], lambda found: ({}, found)])
def test_no_annotation_changes_or_wraps_the_task_that_delivers(name, form):
    """Whether of every task or of this one, and however it is written."""
    app = application(task_annotations=form({name: EVERY_TASK}))
    assert attributes(app) == OWN
    assert app.tasks[DELIVER].run is application().tasks[DELIVER].run
    assert type(app.tasks[DELIVER]).__call__ is Task.__call__


def test_a_projects_class_of_tasks_is_not_that_of_the_task_that_delivers():
    """What it does around each task isn't done around ours."""
    app = application(task_cls=Wrapped)
    task = app.tasks[DELIVER]
    assert attributes(app) == OWN
    assert not isinstance(task, Wrapped)
    assert type(task).__mro__[1:3] == (MailTask, Task)
    assert app._task_from_fun(wrapping, name="project.own").time_limit == 5


def test_a_projects_result_backend_is_not_asked():
    """One that is down, or doesn't exist, holds up no mail."""
    app = application(result_backend="nowhere://")
    assert app.tasks[DELIVER].backend.as_uri() == "disabled://"


def test_a_queue_is_declared_as_the_project_declares_it():
    """A second declaration, with other arguments, is refused by RabbitMQ."""
    own = Queue("mailqueue", Exchange("post"), "mail", queue_arguments={"x-max-priority": 9})
    assert queue_of(application(task_queues=[own]), "mailqueue") == own


def test_a_queue_that_is_missing_is_made_all_the_same():
    """`task_create_missing_queues` finds misspelt names in the project's routes; ours is right."""
    app = application(task_create_missing_queues=False, task_create_missing_queue_type="quorum")
    assert queue_of(app, "mail").queue_arguments == {"x-queue-type": "quorum"}
    with pytest.raises(KeyError):
        app.amqp.queues["misspelt"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, ""),
        ({"accept_content": ["application/json"]}, ""),
        ({"accept_content": ["json", "pickle"], "task_annotations": {"*": EVERY_TASK}}, ""),
        ({"accept_content": ["pickle"]}, "accept_content must have 'json'"),
        ({"task_annotations": [{DELIVER: {"rate_limit": "9/m"}}]}, "has no effect"),
    ],
)
def test_what_keeps_mail_from_going_or_has_no_effect_is_said(options, said):
    """By `check` and by the worker as it starts."""
    found = [*complaints(application(**options), DELIVER)]
    assert len(found) == bool(said)
    assert all(said in one for one in found)


def test_a_serializer_that_is_switched_off_is_said(monkeypatch):
    """As Celery's signed messages have it, with `setup_security()`."""
    monkeypatch.setattr(registry, "_disabled_content_types", {"application/json"})
    assert [*complaints(application(), DELIVER)]
