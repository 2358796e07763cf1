"""Publish tasks that name messages: best effort, since the journal is what keeps them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from importlib import import_module
from typing import Any

from celery import Celery

from .conf import settings
from .errors import ImproperlyConfigured
from .urls import broker_url

TASK = "mailqueue.deliver"
_log = logging.getLogger(__name__)


def publish(queue: str, messages: Sequence[tuple[str, str]], app: Celery | None = None) -> bool:
    """Publish tasks for messages, each an id and its payload ('' to leave it in the journal).

    False: the broker did not take them all. Then nothing is lost: a worker's timer finds what no
    task was published for. It takes no longer than about ``ENQUEUE_TIMEOUT``, and raises nothing:
    the messages are accepted by now, and an error would make the caller send them again.
    """
    try:
        chosen = app or producer_app()
        for batch in _batches(messages):
            _publish_batch(chosen, queue, batch)
    except Exception as error:  # noqa: BLE001 - see above
        _log.warning("no task was published, a worker's timer will do it: %s", error)
        return False
    return True


def _publish_batch(app: Celery, queue: str, batch: Sequence[tuple[str, str]]) -> None:
    ids = [id_ for id_, _ in batch]
    app.send_task(
        TASK,
        kwargs={"queue": queue, "messages": [_named(*message) for message in batch]},
        queue=queue,
        ignore_result=True,
        retry=False,
        # What Celery's events, Flower and logs show of the task: never a message's content.
        argsrepr="()",
        kwargsrepr=f"{{queue: {queue}, messages: {len(ids)}, from: {ids[0]}, to: {ids[-1]}}}",
    )


def _named(id_: str, payload: str) -> dict[str, str]:
    inline = payload and len(payload) <= settings.MAILQUEUE.INLINE_LIMIT
    return {"id": id_, "payload": payload} if inline else {"id": id_}


def _batches(messages: Sequence[tuple[str, str]]) -> Iterator[Sequence[tuple[str, str]]]:
    size = settings.MAILQUEUE.BATCH_SIZE
    return (messages[start : start + size] for start in range(0, len(messages), size))


def producer_app() -> Celery:
    """Return the Celery app that publishes: ``CELERY_APP``, or one of our own for the broker."""
    options = settings.MAILQUEUE
    if options.CELERY_APP:
        return import_app(options.CELERY_APP)
    return _own_app(os.getpid(), broker_url(), options.ENQUEUE_TIMEOUT)


def import_app(path: str) -> Celery:
    """Import a Celery app by ``package.module:attribute``, or as Celery's own ``-A`` finds it.

    Raises ImproperlyConfigured, naming the path.
    """
    module_name, _, attribute = path.partition(":")
    try:
        module: Any = import_module(module_name)
    except ImportError as error:
        raise ImproperlyConfigured(f"MAILQUEUE['CELERY_APP'] = {path!r}: {error}") from error
    for name in [attribute] if attribute else ["app", "celery"]:
        found = getattr(module, name, None)
        if isinstance(found, Celery):
            return found
    raise ImproperlyConfigured(
        f"MAILQUEUE['CELERY_APP'] = {path!r}: there is no Celery app in that module; "
        "name it as package.module:app"
    )


def bounded_broker_options(timeout: float) -> dict[str, Any]:
    """Celery options under which a publish ends, one way or another, in about ``timeout`` seconds.

    By default kombu tries to connect for ever, which would hold up whoever calls ``send()``.
    """
    return {
        "broker_connection_timeout": timeout,
        "broker_transport_options": {
            "max_retries": 1,
            "interval_start": 0,
            "interval_step": 0,
            "interval_max": 0,
            "connect_retries_timeout": timeout,
            "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
        },
    }


@lru_cache(maxsize=4)
def _own_app(_process: int, url: str, timeout: float) -> Celery:
    """One for each process: sockets must not be shared over a fork."""
    app = Celery("mailqueue", set_as_current=False)
    app.conf.update(
        broker_url=url,
        result_backend=None,
        task_ignore_result=True,
        **bounded_broker_options(timeout),
    )
    return app


def publish_ids(queue: str, ids: Iterable[str], app: Celery | None = None) -> bool:
    """Publish tasks for messages whose payload stays in the journal."""
    messages = [(id_, "") for id_ in ids]
    return publish(queue, messages, app) if messages else True
