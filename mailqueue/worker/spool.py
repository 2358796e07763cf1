"""The worker's care for the spool: it replays what lies there, and tells that it does."""

from __future__ import annotations

import logging
import time

from mailqueue.errors import ImproperlyConfigured
from mailqueue.queue.caretaker import look_after
from mailqueue.queue.spool import current_spool, spools_to_replay
from mailqueue.store.opening import open_store

_log = logging.getLogger(__name__)
_REPLAYED_AT_ONCE = 500  # files in a round: a second or so, if the disk is slow
_SECONDS_LEFT_ALONE = 15.0  # after a replay from which files were left
_SECONDS_BETWEEN_NOTES = 10.0
_NOTE_HOLDS = 30.0  # seconds; a worker that has missed two notes has probably ended


class SpoolKeeper:
    """Looks after this machine's spool, a round each second."""

    def __init__(self) -> None:
        self._next_replay = self._next_note = 0.0
        self._has_complained = False

    def round(self) -> None:
        """Replay what waits; now and then, tell that this worker looks after the spool.

        Raises JournalUnavailable. A worker without a spool delivers all the same.
        """
        now = time.monotonic()
        try:
            if now >= self._next_replay:
                self._replay()
            if now >= self._next_note:
                self._next_note = now + _SECONDS_BETWEEN_NOTES
                self._note()
                self._has_complained = False
        except (ImproperlyConfigured, OSError) as error:
            if not self._has_complained:
                _log.warning("this worker looks after no spool: %s", error)
            self._has_complained = True

    def _replay(self) -> None:
        for spool in spools_to_replay():
            if not spool.waits():
                continue
            found = spool.replay(_REPLAYED_AT_ONCE, wait=False)
            if found.done:
                _log.info(
                    "spool: %d messages accepted, %d results recorded",
                    found.accepted, found.recorded,
                )  # fmt: skip
            for reason in found.reasons:
                _log.error("spool: %s", reason)
            if found.reasons:
                self._next_replay = time.monotonic() + _SECONDS_LEFT_ALONE

    def _note(self) -> None:
        spool = current_spool()
        spool.prepare()
        look_after(open_store().client, spool.directory, _NOTE_HOLDS)
