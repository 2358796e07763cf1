"""What mailqueue changes in a Celery worker's consumer, by Celery's own means: a bootstep."""

from __future__ import annotations

from functools import partial
from typing import Any

from celery import bootsteps


class EventsSentOnce(bootsteps.StartStopStep):  # type: ignore[misc]
    """Has the worker send each of its events once, instead of again and again.

    Celery's heartbeat is an event. While the broker is away, the main thread would try to send it
    for ever: then it takes no task, and hears no SIGTERM. What can't be sent is sent later.
    """

    requires = ("celery.worker.consumer.heart:Heart",)

    def start(self, parent: Any) -> None:
        """Called for each connection, which has a dispatcher of its own."""
        dispatcher = parent.event_dispatcher
        if dispatcher is not None:
            dispatcher.send = partial(_send_once, dispatcher.send)


def _send_once(send: Any, *arguments: Any, **options: Any) -> Any:
    return send(*arguments, **{**options, "retry": False})
