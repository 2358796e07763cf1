"""Publish tasks that name messages: best effort, since the journal is what keeps them."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any

from celery import Celery
from celery.app.amqp import AMQP
from kombu.connection import Connection
from kombu.pools import ProducerPool
from kombu.utils.objects import cached_property

from .conf import settings
from .errors import ImproperlyConfigured
from .journal import Due
from .options import Priority
from .payload import is_packed
from .reporting import report
from .urls import broker_url

TASK = "mailqueue.deliver"
# In AMQP the highest number goes first (where the queue has `x-max-priority`), with Redis the
# lowest, of those that kombu has a list for: 0, 3, 6, 9.
_AMQP_PRIORITIES = {Priority.HIGH: 9, Priority.NORMAL: 5, Priority.LOW: 1}
_REDIS_PRIORITIES = {Priority.HIGH: 0, Priority.NORMAL: 3, Priority.LOW: 6}
_WORTH_COMPRESSING = 4096  # characters
# What is due at once, such as what a slow task has left, goes to so many tasks, that no worker is
# without one; but what a task costs is shared by so many messages.
_TASKS_FOR_DUE, _WORTH_A_TASK = 16, 10
_CONNECTIONS = 10  # at most, to the broker from one process
_SECONDS_LEFT_ALONE = 5.0
_log = logging.getLogger(__name__)


def publish(
    queue: str,
    messages: Sequence[tuple[str, str]],
    priority: Priority = Priority.NORMAL,
    at_most: int | None = None,
) -> bool:
    """Publish tasks for messages, each an id and its payload ('' to leave it in the journal).

    A task names up to ``BATCH_SIZE``, or ``at_most`` so many where that is less. For no messages it
    is one task, which takes what joined others.
    False: the broker did not take them all. Then nothing is lost: a worker's timer finds what no
    task was published for. It takes no longer than about half of ``ENQUEUE_TIMEOUT``, and raises
    nothing: the messages are accepted by now, and an error would make the caller send them again.
    After a failure the broker is left alone for some seconds, so that not every ``send()`` has to
    wait for it.
    """
    try:
        # Half: the journal may have taken its time before.
        broker = _broker(producer_app(), settings.MAILQUEUE.ENQUEUE_TIMEOUT / 2, os.getpid())
        batches = _batches(messages, at_most)
        return broker.is_there and broker.publish(queue, batches, priority)
    except Exception as error:  # noqa: BLE001 - see above
        report(_log, "no task was published, a worker's timer will do it: %s", error)
        return False


class _Broker:
    """An app's broker, as one process publishes to it."""

    def __init__(self, app: Celery, timeout: float) -> None:
        self._app = app
        self._timeout = timeout
        self._producers = _producers(app, timeout)
        self._not_before = 0.0

    @property
    def is_there(self) -> bool:
        """Whether it hasn't failed a moment ago."""
        return time.monotonic() >= self._not_before

    def publish(
        self, queue: str, batches: Iterable[Sequence[tuple[str, str]]], priority: Priority
    ) -> bool:
        """Publish a task for each batch. Raises whatever kombu and its transports raise."""
        try:
            with self._producers.acquire(block=True, timeout=self._timeout) as producer:
                for batch in batches:
                    _publish_batch(self._app, producer, queue, batch, priority)
        except Exception:
            self._not_before = time.monotonic() + _SECONDS_LEFT_ALONE
            raise
        return True


@cache
def _broker(app: Celery, timeout: float, _process: int) -> _Broker:
    # One for each process, since forks must share no socket.
    return _Broker(app, timeout)


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


def _publish_batch(
    app: Celery,
    producer: Any,
    queue: str,
    batch: Sequence[tuple[str, str]],
    priority: Priority,
) -> None:
    ids = [id_ for id_, _ in batch]
    messages = [_named(*message) for message in batch]
    extent = f", from: {ids[0]}, to: {ids[-1]}" if ids else ""
    amqp = producer.connection.transport.driver_type == "amqp"
    app.send_task(
        TASK,
        kwargs={"queue": queue, "messages": messages},
        queue=queue,
        producer=producer,
        # JSON, whatever the project's own tasks travel as.
        serializer="json",
        compression=_compression(messages),
        priority=(_AMQP_PRIORITIES if amqp else _REDIS_PRIORITIES)[priority],
        ignore_result=True,
        retry=False,
        # The project's limits for its own tasks would travel, and hold, where ours is registered.
        time_limit=None,
        soft_time_limit=None,
        # What Celery's events, Flower and logs show of the task: never a message's content.
        argsrepr="()",
        kwargsrepr=f"{{queue: {queue}, messages: {len(ids)}{extent}}}",
    )


def _compression(messages: Sequence[Mapping[str, str]]) -> str | None:
    """How to compress a task: not at all where its payloads are small, or compressed themselves.

    A batch's payloads resemble each other, and kombu writes what it sends to Redis in base64.
    """
    texts = [message["payload"] for message in messages if "payload" in message]
    plain = sum(len(text) for text in texts if not is_packed(text))
    return "zlib" if plain > _WORTH_COMPRESSING else None


def _named(id_: str, payload: str) -> dict[str, str]:
    limit = settings.MAILQUEUE.INLINE_LIMIT
    inline = payload and limit and len(payload.encode()) <= limit
    return {"id": id_, "payload": payload} if inline else {"id": id_}


def _batches(
    messages: Sequence[tuple[str, str]], at_most: int | None
) -> Iterator[Sequence[tuple[str, str]]]:
    size = settings.MAILQUEUE.BATCH_SIZE
    if at_most is not None:
        size = min(size, at_most)
    return (messages[start : start + size] for start in range(0, max(len(messages), 1), size))


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
    app = Celery("mailqueue", set_as_current=False)
    app.conf.update(broker_url=url, result_backend=None, task_ignore_result=True)
    return app


def _share(count: int) -> int:
    """How many of so many messages that are due a task gets."""
    return max(_WORTH_A_TASK, -(-count // _TASKS_FOR_DUE))


def publish_due(queue: str, due: Iterable[Due]) -> list[str]:
    """Publish tasks for messages whose payload stays in the journal, one for each suspect.

    Returns the ids of those for which the broker took none.
    """
    tasks: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for message in due:
        alone = message.id if message.is_suspect else ""
        tasks.setdefault((message.priority, alone), []).append((message.id, ""))
    return [
        id_
        for (priority, _), messages in tasks.items()
        if not publish(queue, messages, Priority(priority), _share(len(messages)))
        for id_, _ in messages
    ]
