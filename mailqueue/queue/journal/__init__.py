"""The journal: one record for each message, which is the queue and the truth about it."""

from .journal import ACCEPT_AT_ONCE, Journal
from .opening import open_journal, open_journals
from .reader import ALIVE_WITHIN, NO_FSYNC, known_queues, now_on
from .record import (
    Acceptance,
    Attempt,
    Beat,
    Claim,
    Due,
    Entry,
    Policy,
    Pulse,
    Record,
    Result,
    SettledClaim,
    Settlement,
    StateChange,
)
from .timekeeper import Timekeeper

__all__ = [
    "ACCEPT_AT_ONCE",
    "ALIVE_WITHIN",
    "NO_FSYNC",
    "Acceptance",
    "Attempt",
    "Beat",
    "Claim",
    "Due",
    "Entry",
    "Journal",
    "Policy",
    "Pulse",
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
