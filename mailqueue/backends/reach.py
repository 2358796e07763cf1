"""How a connection to a mail server is made, and how soon its loss is noticed that nobody tells.

Firewalls, NATs and load balancers may drop what they see, without a word to either end. RFC 5321
4.5.3.2 gives a server minutes for each reply. But its host answers TCP at once, however busy the
server is: so the waits here are short, and no slow server is given up for them.
"""

from __future__ import annotations

import smtplib
import socket
from contextlib import suppress
from typing import Any

TO_CONNECT = 30.0  # seconds; five attempts of Linux
# Seconds without a sign of the other host, and between the questions for one.
LOST_AFTER, _BETWEEN_QUESTIONS = 20.0, 5.0


class Reaching(smtplib.SMTP):
    """A connection whose host has ``TO_CONNECT`` seconds, or less, to be reached."""

    def _get_socket(self, host: str, port: int, timeout: Any) -> socket.socket:
        if not isinstance(timeout, int | float):  # smtplib's sign for Python's default
            timeout = socket.getdefaulttimeout()
        limit = TO_CONNECT if timeout is None else min(timeout, TO_CONNECT)
        # typeshed doesn't know this one, which smtplib made for subclasses.
        connected: socket.socket = super()._get_socket(host, port, limit)  # type: ignore[misc]
        connected.settimeout(timeout)
        notice_loss(connected)
        return connected


class ReachingTLS(smtplib.SMTP_SSL, Reaching):
    """One that is encrypted from the start."""


def notice_loss(connected: socket.socket) -> None:
    """Have a wait for the other side end as an OSError, when its host is silent for too long."""
    _set(connected, "SO_KEEPALIVE", 1, level=socket.SOL_SOCKET)
    _set(connected, "TCP_KEEPIDLE", _BETWEEN_QUESTIONS)
    _set(connected, "TCP_KEEPINTVL", _BETWEEN_QUESTIONS)
    _set(connected, "TCP_KEEPCNT", max(1, LOST_AFTER // _BETWEEN_QUESTIONS - 1))
    _set(connected, "TCP_USER_TIMEOUT", LOST_AFTER * 1000)  # for what was written: RFC 5482


def endure_loss(connected: socket.socket | None) -> None:
    """Take that back: a network that comes back brings the reply that was under way."""
    _set(connected, "SO_KEEPALIVE", 0, level=socket.SOL_SOCKET)
    _set(connected, "TCP_USER_TIMEOUT", 0)


def _set(
    connected: socket.socket | None, name: str, value: float, level: int = socket.IPPROTO_TCP
) -> None:
    number = getattr(socket, name, None)
    if connected is None or number is None:
        return  # it is closed, or the system has no such option
    # Where the connection is lost already, the next wait tells.
    with suppress(OSError):
        connected.setsockopt(level, number, round(value))
