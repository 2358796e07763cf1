"""The broker: whose application publishes to it, over which connections, within what time."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from typing import Any
from weakref import WeakSet

from celery import Celery
from celery.app.amqp import AMQP
from celery.exceptions import CeleryError
from kombu.connection import Connection
from kombu.exceptions import KombuError, OperationalError, SerializationError
from kombu.messaging import Producer
from kombu.utils.objects import cached_property

from mailqueue.conf import settings
from mailqueue.conf.server import broker_options, broker_url, redact_all
from mailqueue.errors import ImproperlyConfigured, MailqueueError
from mailqueue.store.direct import CHANGED

_CONNECTIONS = 10  # at most, to the broker from one process
_AMQP_CLOSE = 10, 50  # AMQP 0-9-1, 1.4.2.9
_NOWHERE = "mailqueue:probe"  # a queue that nobody declares
_MOMENT = 0.002  # seconds, to look again for one that is free
_SECONDS_LEFT_ALONE = 5.0
# A firewall or NAT may have forgotten a connection that was not used, and nobody is told of that.
_SECONDS_UNUSED = 10.0
_Producer: Any = Producer
# What broker, kombu, Celery and a project's application raise: also their warnings, where these are
# errors. Any other comes from outside, such as a soft time limit, which is an Exception too.
TROUBLE = (OSError, KombuError, CeleryError, MailqueueError, ImportError, Warning, *CHANGED)


class BrokerBlocked(OperationalError):
    """RabbitMQ lacks memory or room on its disk, and reads nothing more from who publishes."""


class Broker:
    """An app's broker, as one process publishes to it.

    Its connections are those that are idle, and those that somebody holds. So an exception from
    outside (a time limit, a signal) can neither lose one nor leave one half used, as it can in
    kombu's own pools: these count, and wait for a lock.
    """

    def __init__(
        self, app: Celery, timeout: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.app = app
        self._timeout = timeout
        self._clock = clock
        self._idle: list[tuple[Any, float]] = []  # producers, and since when
        self._open = WeakSet[Any]()
        self._not_before = -math.inf

    @property
    def is_there(self) -> bool:
        """Whether it hasn't failed a moment ago."""
        return self._clock() >= self._not_before

    @contextmanager
    def producer(self) -> Iterator[Any]:
        """Who publishes for the app.

        Errors of the broker's transport are kombu's OperationalError. After any error the
        connection is closed, since nobody knows what was left of it.
        """
        producer = self._take()
        try:
            yield producer
        except BaseException as error:
            self._drop(producer)
            if not isinstance(_origin(error), TROUBLE + _transport_errors(producer)):
                raise _origin(error) from None
            self._not_before = self._clock() + _SECONDS_LEFT_ALONE
            raise OperationalError(str(error)) from error
        self._idle.append((producer, self._clock()))

    def _take(self) -> Any:
        """A producer for nobody else; its connection is opened when it is first used."""
        until = self._clock() + self._timeout
        while True:
            with suppress(IndexError):
                producer, since = self._idle.pop()
                if self._clock() - since < _SECONDS_UNUSED:
                    return producer
                self._close(producer)
                continue
            if len(self._open) < _CONNECTIONS:
                # By default kombu tries to connect for ever, which would hold up whoever calls
                # ``send()``; this gives up after about ``timeout`` seconds, whoever's app it is.
                producer = _Producer(_connection(self.app, self._timeout))
                self._open.add(producer)
                return producer
            if self._clock() >= until:
                raise OperationalError(f"all {_CONNECTIONS} connections to the broker are in use")
            time.sleep(_MOMENT)

    def _close(self, producer: Any) -> None:
        """Close a connection that may be dead without a word, so that no answer is waited for."""
        with suppress(*TROUBLE, *_transport_errors(producer)):
            connection = producer.connection
            if connection.connected and _speaks_amqp(connection):
                connection.connection.send_method(_AMQP_CLOSE, "BsBB", (0, "", 0, 0))
        self._drop(producer)

    def _drop(self, producer: Any) -> None:
        self._open.discard(producer)
        with suppress(*TROUBLE, *_transport_errors(producer)):
            connection = producer.connection
            connection.collect() if _speaks_amqp(connection) else connection.release()


def _origin(error: BaseException) -> BaseException:
    """What kombu has wrapped: where it serializes, any exception, as the wrapper's argument."""
    wrapped = error.args[0] if isinstance(error, SerializationError) and error.args else None
    return wrapped if isinstance(wrapped, BaseException) else error


def _transport_errors(producer: Any) -> tuple[type[BaseException], ...]:
    connection = producer.connection
    return (*connection.connection_errors, *connection.channel_errors)


def _speaks_amqp(connection: Any) -> bool:
    return bool(connection.transport.driver_type == "amqp")


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


def _connection(app: Celery, timeout: float, **options: Any) -> Any:
    bounds = {
        **options,
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

    Raises BrokerBlocked, and whatever kombu and its transports raise, after about
    ``ENQUEUE_TIMEOUT``.
    """
    with _reached() as connection:
        found = str(connection.as_uri())
    # Of ours, kombu would show a password where there is none, and garble an address of IPv6.
    return found if settings.MAILQUEUE.CELERY_APP else broker_name()


def broker_name() -> str:
    """The broker for people to read, without a password. Nothing is asked of it."""
    app = settings.MAILQUEUE.CELERY_APP
    return f"that of the Celery application {app}" if app else redact_all(broker_url())


@contextmanager
def _reached() -> Iterator[Any]:
    timeout = settings.MAILQUEUE.ENQUEUE_TIMEOUT
    with _connection(producer_app(), timeout, on_blocked=_complain) as connection:
        connection.ensure_connection(max_retries=1, timeout=timeout)
        if _speaks_amqp(connection):
            _try_to_publish(connection)
        yield connection


def _complain(_reason: str) -> None:
    raise BrokerBlocked(
        "takes no tasks, since RabbitMQ lacks memory or room on its disk: see `rabbitmqctl status`"
    )


def _try_to_publish(connection: Any) -> None:
    """Publish to no queue at all, by which RabbitMQ says whether it takes what is published."""
    try:
        channel = connection.channel()
        nothing = channel.prepare_message("", content_encoding="utf-8")
        channel.basic_publish(nothing, routing_key=_NOWHERE)
        channel.basic_qos(0, 1, False)  # whose answer comes behind
        channel.close()
    except BrokerBlocked:
        connection.collect()  # it would hear no good-bye either
        raise
    except connection.channel_errors:
        pass  # a login that may publish elsewhere only


def count_tasks(queues: Sequence[str]) -> dict[str, int]:
    """How many tasks of each of those queues wait in the broker, for a worker to take them.

    Raises what ``reach_broker`` raises.
    """
    with _reached() as connection:
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
    return _own_app(broker_url(), settings.MAILQUEUE.BROKER_URL)


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
def _own_app(_address: str, _with_options: str) -> Celery:
    # Celery's fix-up for Django is for workers: here it would make this the project's default
    # app, and put the working directory before everything else that Python imports from.
    app = Celery("mailqueue", set_as_current=False, fixups=())
    app.conf.update(own_broker(), result_backend=None, task_ignore_result=True)
    return app


def own_broker() -> dict[str, Any]:
    """The options by which an app uses our broker, whatever ``CELERY_BROKER_URL`` says.

    Celery takes that variable for the broker of every app in the process, but not for one whose
    URLs for reading and writing are set.
    """
    url = broker_url()
    return {
        "broker_url": url,
        "broker_read_url": url,
        "broker_write_url": url,
        **broker_options(),
    }
