"""The broker: whose application publishes to it, over which connections, within what time."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any

from celery import Celery
from celery.app.amqp import AMQP
from kombu.connection import Connection
from kombu.pools import ProducerPool
from kombu.utils.objects import cached_property

from mailqueue.conf import settings
from mailqueue.conf.server import broker_url
from mailqueue.errors import ImproperlyConfigured

_CONNECTIONS = 10  # at most, to the broker from one process
_SECONDS_LEFT_ALONE = 5.0


class Broker:
    """An app's broker, as one process publishes to it."""

    def __init__(self, app: Celery, timeout: float) -> None:
        self.app = app
        self._timeout = timeout
        self._producers = _producers(app, timeout)
        self._not_before = 0.0

    @property
    def is_there(self) -> bool:
        """Whether it hasn't failed a moment ago."""
        return time.monotonic() >= self._not_before

    @contextmanager
    def producer(self) -> Iterator[Any]:
        """Who publishes for the app. Raises whatever kombu and its transports raise."""
        try:
            with self._producers.acquire(block=True, timeout=self._timeout) as producer:
                yield producer
        except Exception:
            self._not_before = time.monotonic() + _SECONDS_LEFT_ALONE
            raise


@cache
def broker_of(app: Celery, timeout: float, _process: int) -> Broker:
    """The broker of that app, for that process."""
    # One for each process, since forks must share no socket.
    return Broker(app, timeout)


def _renew_locks() -> None:
    """After a fork, in the child: make kombu's cached properties usable again.

    Each has one lock for all of its class. Where another thread of the parent held it, the child,
    which has no such thread, would wait for ever.
    """
    transport = sys.modules.get("kombu.transport.redis")
    owners = [Celery, AMQP, Connection, *([transport.Channel] if transport else [])]
    for kind in {kind for owner in owners for kind in owner.__mro__}:
        for value in vars(kind).values():
            if isinstance(value, cached_property):
                value.lock = threading.RLock()


os.register_at_fork(after_in_child=_renew_locks)


def _producers(app: Celery, timeout: float) -> Any:
    """Who publishes to the app's broker.

    By default kombu tries to connect for ever, which would hold up whoever calls ``send()``; these
    give up after about ``timeout`` seconds, whoever's app it is.
    """
    pool: Any = ProducerPool
    return pool(_connection(app, timeout).Pool(limit=_CONNECTIONS), limit=_CONNECTIONS)


def _connection(app: Celery, timeout: float) -> Any:
    bounds = {
        "max_retries": 1,
        "interval_start": 0,
        "interval_step": 0,
        "interval_max": 0,
        "connect_retries_timeout": timeout,
        # Redis
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        # AMQP
        "read_timeout": timeout,
        "write_timeout": timeout,
    }
    return app.connection_for_write(connect_timeout=timeout, transport_options=bounds)


def reach_broker() -> str:
    """Connect to the broker; return its address, without a password.

    Raises whatever kombu and its transports raise, after about ``ENQUEUE_TIMEOUT``.
    """
    timeout = settings.MAILQUEUE.ENQUEUE_TIMEOUT
    with _connection(producer_app(), timeout) as connection:
        connection.ensure_connection(max_retries=1, timeout=timeout)
        return str(connection.as_uri())


def count_tasks(queues: Sequence[str]) -> dict[str, int]:
    """How many tasks of each of those queues wait in the broker, for a worker to take them.

    Raises what ``reach_broker`` raises.
    """
    timeout = settings.MAILQUEUE.ENQUEUE_TIMEOUT
    with _connection(producer_app(), timeout) as connection:
        connection.ensure_connection(max_retries=1, timeout=timeout)
        return {queue: _count_tasks(connection, queue) for queue in queues}


def _count_tasks(connection: Any, queue: str) -> int:
    with connection.channel() as channel:  # which AMQP closes where there is no such queue
        try:
            return int(channel.queue_declare(queue, passive=True).message_count)
        except connection.channel_errors:
            return 0


def producer_app() -> Celery:
    """Return the Celery app that publishes: ``CELERY_APP``, or one of our own for the broker."""
    if settings.MAILQUEUE.CELERY_APP:
        return import_app(settings.MAILQUEUE.CELERY_APP)
    return _own_app(broker_url())


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


@cache
def _own_app(url: str) -> Celery:
    # Celery's fix-up for Django is for workers: here it would make this the project's default
    # app, and put the working directory before everything else that Python imports from.
    app = Celery("mailqueue", set_as_current=False, fixups=())
    app.conf.update(own_broker(url), result_backend=None, task_ignore_result=True)
    return app


def own_broker(url: str) -> dict[str, str]:
    """The options by which an app uses that broker, whatever ``CELERY_BROKER_URL`` says.

    Celery takes that variable for the broker of every app in the process, but not for one whose
    URLs for reading and writing are set.
    """
    return {"broker_url": url, "broker_read_url": url, "broker_write_url": url}
