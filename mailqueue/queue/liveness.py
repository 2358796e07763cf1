"""How soon a Celery application notices that connections to its broker died without a word.

Behind a NAT, a load balancer or a firewall that drops what it sees, no connection is closed: an
answer just never comes. By default a worker of Celery's then waits for ever.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

from celery import Celery

_LONGEST = 30.0  # seconds; with more, a worker takes longer than a minute
_REDIS = ("redis", "sentinel", "valkey")
_AMQP = ("amqp", "pyamqp", "py-amqp")


def liveness_options(url: str, patience: float) -> dict[str, Any]:
    """The options by which a worker gives up a connection that is silent for ``patience`` seconds.

    With Redis, a connection on which tasks are awaited is asked for an answer each second. It is
    given up after twice the patience and a second, as kombu's Redis transport documents at
    ``health_check_interval``. With AMQP a heartbeat is awaited every twice the patience, so that a
    worker of one process may be busy for as long; two that are missed end the connection.
    """
    if _is(url, _REDIS):
        return {"broker_transport_options": _redis_options(patience)}
    if _is(url, _AMQP):
        return {
            "broker_heartbeat": max(1, round(2 * patience)),
            "broker_connection_timeout": patience,
            "broker_transport_options": {"read_timeout": patience, "write_timeout": patience},
        }
    return {}


def _redis_options(patience: float) -> dict[str, Any]:
    keep_alive = {"TCP_KEEPIDLE": patience, "TCP_KEEPINTVL": patience / 3, "TCP_KEEPCNT": 3}
    return {
        "socket_timeout": patience,
        "socket_connect_timeout": patience,
        "health_check_interval": patience,
        "socket_keepalive": True,
        "socket_keepalive_options": {
            getattr(socket, name): max(1, round(value))
            for name, value in keep_alive.items()
            if hasattr(socket, name)
        },
        # redis-py would wait once more, for each call.
        "retry_on_timeout": False,
    }


def shortcomings(app: Celery) -> Iterator[str]:
    """What an application lacks, so that its workers may stand still after such a loss."""
    url = str(app.conf.broker_read_url or app.conf.broker_url or "")
    options = app.conf.broker_transport_options or {}
    if _is(url, _REDIS):
        defaults = {
            "socket_timeout": None,
            "socket_connect_timeout": options.get("socket_timeout"),
            "health_check_interval": 25,  # kombu's
        }
        for name, default in defaults.items():
            if _is_too_long(value := options.get(name, default)):
                yield f"broker_transport_options[{name!r}] = {value}"
    elif _is(url, _AMQP) and _is_too_long(app.conf.broker_heartbeat):
        yield f"broker_heartbeat = {app.conf.broker_heartbeat}"
    if not app.conf.broker_channel_error_retry:
        # Then it ends at a queue that such a connection still locks, or a Redis that is a replica.
        yield "broker_channel_error_retry = False"


def _is_too_long(seconds: float | None) -> bool:
    return not seconds or seconds > _LONGEST


def _is(url: str, schemes: tuple[str, ...]) -> bool:
    scheme = url.partition(":")[0].partition("+")[0]  # as in redis+socket
    return scheme in schemes or scheme.removesuffix("s") in schemes  # as in rediss
