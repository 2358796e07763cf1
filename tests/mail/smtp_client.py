"""A message, and a backend that sends it to a test's server."""

from __future__ import annotations

from mailqueue import EmailMessage
from mailqueue.backends.smtp import EmailBackend


def message(*recipients: str, **arguments) -> EmailMessage:
    """A short message."""
    arguments = {"subject": "Subject", "body": "Body", "from_email": "ann@example.com"} | arguments
    return EmailMessage(to=list(recipients or ["bob@example.com"]), **arguments)


def backend_for(server, **arguments) -> EmailBackend:
    """A backend for that server."""
    return EmailBackend(**{"host": "127.0.0.1", "port": server.port} | arguments)
