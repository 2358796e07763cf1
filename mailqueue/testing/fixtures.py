"""The fixtures of ``pytest_plugins = ["mailqueue.testing"]``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mailqueue
from mailqueue.conf import settings
from mailqueue.conf.server import journal_socket_url
from mailqueue.local.embedded import EmbeddedServer
from mailqueue.queue.journal import open_journal

from .queue import MailQueue
from .server import RecordingServer

LOCMEM = "mailqueue.backends.locmem.EmailBackend"
_QUEUE = "mailqueue.backends.queue.EmailBackend"


@pytest.fixture
def mail_outbox() -> Iterator[list[Any]]:
    """Send all mail of a test to the locmem backend; the list of the messages, empty at first."""
    with settings.overridden(EMAIL_BACKEND=LOCMEM):
        mailqueue.outbox = []
        yield mailqueue.outbox


@pytest.fixture
def recording_server() -> Iterator[RecordingServer]:
    """A real SMTP server, to which all mail of a test is sent unless it names another backend."""
    with (
        RecordingServer() as server,
        settings.overridden(EMAIL_HOST="127.0.0.1", EMAIL_PORT=server.port),
    ):
        yield server


@pytest.fixture(scope="session", name="_private_valkey")
def private_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Valkey for the tests of this session; its home."""
    directory = tmp_path_factory.mktemp("mailqueue")
    with EmbeddedServer(directory):
        yield directory


@pytest.fixture
def mail_queue(_private_valkey: Path) -> Iterator[MailQueue]:
    """An empty queue, to which all mail of a test is sent."""
    options = {
        "BROKER_URL": "memory://",  # tasks go nowhere: the test is the worker
        "JOURNAL_URL": journal_socket_url(_private_valkey),
        "BACKEND": LOCMEM,
    }
    with settings.overridden(EMAIL_BACKEND=_QUEUE, MAILQUEUE=options):
        open_journal().forget_everything()
        mailqueue.outbox = []
        yield MailQueue()
