"""The journal as the settings say it."""

from __future__ import annotations

from functools import cache

from mailqueue.conf import settings
from mailqueue.conf.server import journal_url
from mailqueue.store.client import Client, connect
from mailqueue.store.sealing import sealer_for

from .journal import Journal, Policy
from .reader import known_queues

_DOUBT = 3600.0  # seconds before a message in doubt is sent again: long, since it probably arrived


def open_journal(queue: str | None = None) -> Journal:
    """Return the journal of that queue, by default of the queue in the settings."""
    options = settings.MAILQUEUE
    doubt = _DOUBT if options.IN_DOUBT == "retry" else None
    keys = tuple(options.SECRET_KEYS)
    client = connect(journal_url(), options.ENQUEUE_TIMEOUT)
    return _journal(client, queue or options.QUEUE, options.LEASE, doubt, keys)


@cache
def _journal(
    client: Client, queue: str, lease: float, doubt: float | None, keys: tuple[str, ...]
) -> Journal:
    # Kept, because a journal's first use costs two more round trips than the later ones.
    return Journal(client, queue, Policy(lease=lease, doubt=doubt), sealer_for(keys))


def open_journals() -> list[Journal]:
    """Return the journals of all queues that are known, the settings' own first."""
    options = settings.MAILQUEUE
    known = known_queues(connect(journal_url(), options.ENQUEUE_TIMEOUT))
    return [open_journal(queue) for queue in (options.QUEUE, *sorted(known - {options.QUEUE}))]
