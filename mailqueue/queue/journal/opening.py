"""The journal as the settings say it."""

from __future__ import annotations

from functools import cache

from mailqueue.conf import settings
from mailqueue.store.opening import Store, open_store

from .journal import Journal
from .reader import known_queues
from .record import Policy

_DOUBT = 3600.0  # seconds before a message in doubt is sent again: long, since it probably arrived


def open_journal(queue: str | None = None) -> Journal:
    """Return the journal of that queue, by default of the queue in the settings."""
    config = settings.MAILQUEUE
    doubt = _DOUBT if config.IN_DOUBT == "retry" else None
    return _journal(open_store(), queue or config.QUEUE, config.LEASE, doubt)


@cache
def _journal(store: Store, queue: str, lease: float, doubt: float | None) -> Journal:
    # Kept, because a journal's first use costs two more round trips than the later ones.
    return Journal(store.client, queue, Policy(lease=lease, doubt=doubt), store.sealer)


def open_journals() -> list[Journal]:
    """Return the journals of all queues that are known, the settings' own first."""
    own = settings.MAILQUEUE.QUEUE
    known = known_queues(open_store().client)
    return [open_journal(queue) for queue in (own, *sorted(known - {own}))]
