"""Opening what delivers, as the settings say: one connection for each thread."""

from __future__ import annotations

import os
import threading

from mailqueue.conf import settings
from mailqueue.mail.routing import delivery_backend, import_backend
from mailqueue.store.opening import open_store

from .backend import BackendTransport
from .connection import Connection, Limits
from .gate.breaker import SharedBreaker
from .housekeeper import housekeeper
from .smtp.transport import SmtpTransport
from .transport import Transport

_OWN_SMTP_BACKEND = "mailqueue.backends.smtp.EmailBackend"
_TO_OPEN = 300.0  # seconds for each step at most; a greeting may take that long: RFC 5321 4.5.3.2.1
_of_this_thread = threading.local()
_open: dict[int, list[Connection]] = {}  # by process: a fork's child must leave its parent's alone


def current_connection() -> Connection:
    """Return this thread's connection, made on first use; it never crosses a fork."""
    process = os.getpid()
    if getattr(_of_this_thread, "process", None) != process:
        connection = Connection(
            open_transport, _limits(), breaker=shared_breaker(), name=mailer_name()
        )
        housekeeper.add(connection.close_if_idle)
        _open.setdefault(process, []).append(connection)
        _of_this_thread.process, _of_this_thread.connection = process, connection
    found: Connection = _of_this_thread.connection
    return found


def shared_breaker(mailer: str | None = None) -> SharedBreaker:
    """The breaker of that mailer, by default of the one that the settings name."""
    store = open_store()
    return SharedBreaker(store.client, mailer or mailer_name(), store.sealer)


def close_connections() -> None:
    """Close all connections of this process, at its end."""
    for connection in _open.get(os.getpid(), []):
        connection.close()


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
