"""The store as the settings say it: where it is, and what seals what lies in it."""

from __future__ import annotations

from typing import NamedTuple

from mailqueue.conf import settings
from mailqueue.conf.server import journal_url

from .client import Client, connect
from .sealing import Sealer, current_sealer


class Store(NamedTuple):
    """What journal, breakers and all else that processes share need: a server, and its sealer."""

    client: Client
    sealer: Sealer


def open_store() -> Store:
    """Return the process's store; it connects when it is first used."""
    return Store(connect(journal_url(), settings.MAILQUEUE.ENQUEUE_TIMEOUT), current_sealer())
