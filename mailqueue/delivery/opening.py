"""Opening what delivers, as the settings say."""

from __future__ import annotations

import os

from mailqueue.conf import settings
from mailqueue.mail.routing import delivery_backend, import_backend
from mailqueue.store.opening import open_store

from .backend import BackendTransport
from .connection import Connection, Limits
from .gate.breaker import SharedBreaker
from .housekeeper import housekeeper
from .pool import ConnectionPool
from .smtp.transport import SmtpTransport
from .transport import Transport

_OWN_SMTP_BACKEND = "mailqueue.backends.smtp.EmailBackend"
_TO_OPEN = 300.0  # seconds for each step at most; a greeting may take that long: RFC 5321 4.5.3.2.1
_pools: dict[tuple[int, str], ConnectionPool] = {}  # by process and mailer


def connection_pool() -> ConnectionPool:
    """Return this process's connections to the mailer that the settings name.

    They never cross a fork: a child must leave its parent's alone.
    """
    key = (os.getpid(), mailer_name())
    if key not in _pools:
        _pools.setdefault(key, ConnectionPool(_connect))
        housekeeper.add(_close_idle_connections)
    return _pools[key]


def _connect() -> Connection:
    return Connection(open_transport, _limits(), breaker=shared_breaker(), name=mailer_name())


def _own_pools() -> list[ConnectionPool]:
    return [pool for (process, _), pool in [*_pools.items()] if process == os.getpid()]


def _close_idle_connections() -> None:
    for pool in _own_pools():
        pool.close_idle()


def close_connections() -> None:
    """Close all connections of this process, at its end."""
    for pool in _own_pools():
        pool.close()


def shared_breaker(mailer: str | None = None) -> SharedBreaker:
    """The breaker of that mailer, by default of the one that the settings name."""
    store = open_store()
    return SharedBreaker(store.client, mailer or mailer_name(), store.sealer)


def open_transport(patience: float | None = None) -> Transport:
    """Open what delivers: the mailer ``USING``, or the backend ``BACKEND``.

    ``patience`` (seconds) shortens the time-out of each step of opening mailqueue's SMTP backend.
    Raises ServerTrouble when the server can't be reached, ImproperlyConfigured when what is set
    would only queue the message again.
    """
    backend = delivery_backend()
    if type(backend) is import_backend(_OWN_SMTP_BACKEND):
        in_flight = backend.option("in_flight") if backend.option("chunking") else 1
        return SmtpTransport(backend, backend.timeout, patience or _TO_OPEN, in_flight)
    return BackendTransport(backend)


def mailer_name() -> str:
    """Name what delivers, for people and for what workers share about it."""
    config = settings.MAILQUEUE
    if config.USING is not None:
        return config.USING
    if config.BACKEND != _OWN_SMTP_BACKEND:
        return config.BACKEND
    return f"{settings.EMAIL_HOST}:{settings.EMAIL_PORT}"


def _limits() -> Limits:
    config = settings.MAILQUEUE
    return Limits(config.CONNECTION_MAX_MESSAGES, config.CONNECTION_MAX_AGE, config.CONNECTION_IDLE)
