"""The journal: one record for each message, which is the queue and the truth about it."""

from .journal import ACCEPT_AT_ONCE, Journal, Policy
from .opening import open_journal, open_journals
from .reader import NO_FSYNC, known_queues, now_on
from .record import (
    Acceptance,
    Attempt,
    Claim,
    Due,
    Entry,
    Record,
    Result,
    SettledClaim,
    Settlement,
    StateChange,
)
from .timekeeper import Timekeeper

__all__ = [
    "ACCEPT_AT_ONCE",
    "NO_FSYNC",
    "Acceptance",
    "Attempt",
    "Claim",
    "Due",
    "Entry",
    "Journal",
    "Policy",
    "Record",
    "Result",
    "SettledClaim",
    "Settlement",
    "StateChange",
    "Timekeeper",
    "known_queues",
    "now_on",
    "open_journal",
    "open_journals",
]
