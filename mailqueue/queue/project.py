"""A project's Celery application, as far as its options concern mail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from celery import Celery
from celery.app.annotations import MapAnnotation
from kombu import serialization

_JSON = "application/json"


def queue_of(app: Celery, name: str) -> Any:
    """The queue of that name, a ``kombu.Queue``, as the application's options declare it.

    One that ``task_queues`` lacks is made also where ``task_create_missing_queues`` is off: that
    option is there to find misspelt names in the project's own routes.
    """
    queues = app.amqp.queues
    try:
        return queues[name]
    except KeyError:
        return queues.add(queues.new_missing(name))


class Router:
    """Routes a task to the queue that it was published for, whatever ``task_routes`` says.

    A route of the project's for every task may name an exchange, and then takes mail elsewhere.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app

    def route(self, options: dict[str, Any], *_: object) -> dict[str, Any]:
        """The options of a task with its queue; Celery calls it."""
        return {**options, "queue": queue_of(self._app, options["queue"])}


def complaints(app: Celery, task: str) -> Iterator[str]:
    """What in the application's options keeps mail from being delivered, or has no effect on it."""
    if not _is_accepted(app.conf.accept_content):
        yield "accept_content must have 'json', or the workers refuse every task that delivers mail"
    for annotation in app.annotations:
        if isinstance(annotation, MapAnnotation) and task in annotation:
            yield f"task_annotations[{task!r}] has no effect: no option limits or wraps that task"


def _is_accepted(names: Any) -> bool:
    """Whether a worker that accepts these, by name or content type, reads JSON; None: all."""
    registry = serialization.registry
    types = {registry.name_to_type.get(name, name) for name in names or [_JSON]}
    # kombu has no public name for what it refuses, by `setup_security()` for one.
    return _JSON in types and _JSON not in registry._disabled_content_types
