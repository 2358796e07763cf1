"""For the tests of applications: pytest fixtures, a recording SMTP server, assertions.

In a ``conftest.py``::

    pytest_plugins = ["mailqueue.testing"]

It needs pytest; the fixture ``recording_server`` also needs the extra ``inbox``, and ``mail_queue``
the extra ``embedded``.
"""

from .assertions import assert_queued, assert_sent
from .fixtures import mail_outbox, mail_queue, recording_server
from .fixtures import private_valkey as private_valkey  # pytest finds it here
from .queue import MailQueue
from .server import Received, RecordingServer

__all__ = [
    "MailQueue",
    "Received",
    "RecordingServer",
    "assert_queued",
    "assert_sent",
    "mail_outbox",
    "mail_queue",
    "recording_server",
]
