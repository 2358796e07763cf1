"""The journal: one record for each message, which is the queue and the truth about it."""

from .journal import Journal, Policy
from .opening import open_journal, open_journals
from .reader import NO_FSYNC, known_queues, now_on
from .record import (
    Accepted,
    Attempt,
    Change,
    Claim,
    Due,
    Entry,
    Record,
    Result,
    Settled,
    Settlement,
)

__all__ = [
    "NO_FSYNC",
    "Accepted",
    "Attempt",
    "Change",
    "Claim",
    "Due",
    "Entry",
    "Journal",
    "Policy",
    "Record",
    "Result",
    "Settled",
    "Settlement",
    "known_queues",
    "now_on",
    "open_journal",
    "open_journals",
]
