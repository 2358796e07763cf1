"""The circuit breaker of a mailer: after trouble it is left alone, longer each time."""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, NamedTuple, Protocol

from mailqueue.errors import JournalUnavailable
from mailqueue.store.client import Client, translating_errors
from mailqueue.store.script import Script
from mailqueue.store.sealing import Sealer

from ..refusal import Blame
from ..retry import JITTER
from ..trouble import Misconfigured, ServerTrouble

_SCRIPT = files(__package__).joinpath("breaker.lua").read_text("utf-8")
_MAILERS = "mailqueue:mailers"
_ASK_AGAIN = 1.0  # seconds after which a worker looks whether the mailer works for another by now
_SECONDS_BETWEEN_LOOKS = 1.0  # of those whose connection works
# Where nobody was accepted, a refusal of so many messages in a row is our own mistake. Until then a
# message waits for its verdict, but for so many seconds only; its refusal counts for longer.
_ENOUGH, _HELD, _COUNTS = 3, 3600.0, 86400.0
# Seconds for which an accepted message shows that refusals are the recipients' own, and after which
# a worker says so again.
_SHOWS, _SECONDS_BETWEEN_NOTES = 3600.0, 60.0
_WITHOUT_CHUNKS = 3600.0  # seconds for which a server that can't do BDAT is sent DATA
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pauses:
    """For how long a mailer is left alone, in seconds: each pause is twice the one before.

    With the time-outs that a first try may take, mail moves within a minute of a mailer's return.
    ``patience`` is how long the one worker that tries the mailer has for it.
    """

    first: float = 1.0
    longest: float = 30.0
    first_of_alarm: float = 60.0
    longest_of_alarm: float = 300.0
    patience: float = 30.0

    def bounds(self, trouble: ServerTrouble) -> tuple[float, float]:
        """The first and the longest pause after that kind of trouble."""
        if isinstance(trouble, Misconfigured):
            return self.first_of_alarm, self.longest_of_alarm
        return self.first, self.longest


class View(NamedTuple):
    """What a breaker says: seconds to wait, 0 for go; closed, when all is well; why it isn't.

    ``chunks``: whether BDAT may be tried.
    """

    wait: float
    closed: bool
    reason: str
    chunks: bool = True


class Noted(NamedTuple):
    """What a failure came to: seconds to wait, and whether the alarm is on since then."""

    wait: float
    is_new_alarm: bool


class Breaker(Protocol):
    """What a connection asks before it opens, and tells what came of it. Nothing raises."""

    def look(self) -> View:
        """Whether there is any use in claiming messages now."""

    def ask(self) -> View:
        """Whether a connection may be opened now; while in doubt, one of all who ask may."""

    def watch(self) -> None:
        """Say that a connection is in use: while in doubt, its next success closes the breaker."""

    def note_failure(self, trouble: ServerTrouble) -> float:
        """Open the breaker; return the seconds until it is worth while to look again."""

    def note_success(self) -> None:
        """Close the breaker."""

    def note_accepted(self) -> None:
        """Note that the mailer accepts mail, so that for a while refusals are the recipients'."""

    def note_refusal(self, id_: str) -> Blame:
        """Note that a message was refused for what may be our own mistake; say whose it is.

        OURS where it was said of three messages, and nobody was accepted. DOUBTFUL as long as that
        isn't known, for an hour at most.
        """

    def note_no_chunks(self) -> None:
        """Note that the server can't do BDAT, though it offers it: for an hour nobody tries."""


class LocalBreaker:
    """The breaker of a single connection."""

    def __init__(
        self,
        pauses: Pauses | None = None,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._pauses = pauses or Pauses()
        self._clock = clock
        self._chance = chance
        self._failures = 0
        self._not_before = 0.0
        self._reason = ""
        self._accepts_until = self._no_chunks_until = -math.inf
        self._refused: dict[str, float] = {}

    def look(self) -> View:
        now = self._clock()
        wait = max(0.0, self._not_before - now)
        return View(wait, not self._failures, self._reason, now >= self._no_chunks_until)

    def ask(self) -> View:
        return self.look()

    def watch(self) -> None:
        """A breaker of one connection is closed while that is open."""

    def note_failure(self, trouble: ServerTrouble) -> float:
        first, longest = self._pauses.bounds(trouble)
        pause = min(first * 2 ** min(self._failures, 30) * _jitter(self._chance), longest)
        self._failures += 1
        self._not_before = self._clock() + pause
        self._reason = trouble.reply
        if isinstance(trouble, Misconfigured):
            self._accepts_until = -math.inf
        return self.look().wait

    def note_success(self) -> None:
        self._failures, self._not_before = 0, 0.0

    def note_accepted(self) -> None:
        self._accepts_until = self._clock() + _SHOWS
        self._refused.clear()

    def note_refusal(self, id_: str) -> Blame:
        now = self._clock()
        if now < self._accepts_until:
            return Blame.THEIRS
        kept = {id_: since for id_, since in self._refused.items() if now - since < _COUNTS}
        self._refused = {id_: now} | kept
        if len(self._refused) >= _ENOUGH:
            return Blame.OURS
        return Blame.DOUBTFUL if now - self._refused[id_] < _HELD else Blame.THEIRS

    def note_no_chunks(self) -> None:
        self._no_chunks_until = self._clock() + _WITHOUT_CHUNKS


class SharedBreaker:
    """The breaker that all workers share, in the journal's server; without that, a local one.

    Of what it says to one worker it remembers only whether that worker is the one that tries.
    """

    def __init__(
        self,
        client: Client,
        mailer: str,
        sealer: Sealer | None = None,
        pauses: Pauses | None = None,
        chance: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._mailer = mailer
        self._sealer = sealer or Sealer()
        self._pauses = pauses or Pauses()
        self._chance = chance
        self._local = LocalBreaker(self._pauses, clock, chance)
        self._script = Script(client, _SCRIPT)
        self._clock = clock
        self._next_look = self._next_note = 0.0
        self._trying = False

    def look(self) -> View:
        try:
            return self._view("look")
        except JournalUnavailable:
            return self._local.look()

    def ask(self) -> View:
        try:
            view = self._view("ask", _ms(self._pauses.patience))
        except JournalUnavailable:
            return self._local.ask()
        self._trying = not view.closed and not view.wait
        return view

    def watch(self) -> None:
        # Seldom: a closed breaker costs those who deliver no round trip for each task.
        if self._clock() < self._next_look:
            return
        self._next_look = self._clock() + _SECONDS_BETWEEN_LOOKS
        view = self.look()
        self._trying = self._trying or not (view.closed or view.wait)

    def note_failure(self, trouble: ServerTrouble) -> float:
        wait = self._local.note_failure(trouble)
        self._trying, self._next_note = False, 0.0
        alarm = isinstance(trouble, Misconfigured)
        first, longest = map(_ms, self._pauses.bounds(trouble))
        reason = self._sealer.seal(trouble.reply)
        try:
            with translating_errors(self._client):
                self._client.sadd(_MAILERS, self._mailer)
            noted = self._note(reason, int(alarm), first, longest, _jitter(self._chance))
        except JournalUnavailable:
            return wait
        if noted.is_new_alarm:
            _log.error(
                "mailer %s can't be used, and that is our own mistake: %s. Nothing fails for it; "
                "mail waits until it is mended", self._mailer, trouble.reply,
            )  # fmt: skip
        return noted.wait

    def note_success(self) -> None:
        self._local.note_success()
        if self._trying:
            self._trying = False
            try:
                self.close()
            except JournalUnavailable:
                return  # another worker's success will close it
            _log.info("mailer %s works again", self._mailer)

    def note_accepted(self) -> None:
        # Seldom: it is known already, and would cost each message a round trip.
        if self._clock() < self._next_note:
            return
        self._next_note = self._clock() + _SECONDS_BETWEEN_NOTES
        self._local.note_accepted()
        with suppress(JournalUnavailable):
            self._call("accepted", _ms(_SHOWS))

    def note_refusal(self, id_: str) -> Blame:
        try:
            blame = Blame(self._call("refused", id_, _ENOUGH, _ms(_HELD), _ms(_COUNTS)))
        except JournalUnavailable:
            blame = self._local.note_refusal(id_)
        if blame is not Blame.THEIRS:
            self._next_note = 0.0  # nobody knows that mail is accepted: the next success tells it
        return blame

    def note_no_chunks(self) -> None:
        self._local.note_no_chunks()
        with suppress(JournalUnavailable):
            self._call("no_chunks", _ms(_WITHOUT_CHUNKS))

    def close(self) -> bool:
        """Let all workers use the mailer at once; return whether they were kept from it.

        Raises JournalUnavailable.
        """
        return bool(self._call("close"))

    def hasten(self) -> bool:
        """Let one worker try at once a mailer that our own mistake keeps from being used.

        Returns whether there is one. Raises JournalUnavailable.
        """
        return bool(self._call("hasten"))

    def _view(self, operation: str, *arguments: int) -> View:
        wait, failures, reason, chunks = self._call(operation, *arguments)
        shown = self._sealer.readable(reason) if reason else ""
        return View(_pause(wait), not failures, shown, bool(chunks))

    def _note(self, *failure: str | float) -> Noted:
        wait, is_new_alarm = self._call("failed", *failure)
        return Noted(_pause(wait), bool(is_new_alarm))

    def _call(self, operation: str, *arguments: str | float) -> Any:
        return self._script.call(_key(self._mailer), [operation, *arguments])


@dataclass(frozen=True)
class Trouble:
    """A mailer that is not used now; ``alarm`` where that is our own mistake."""

    mailer: str
    failures: int
    reason: str
    alarm: bool
    since: datetime
    not_before: datetime


def troubles(client: Client, sealer: Sealer) -> list[Trouble]:
    """The mailers whose breakers are not closed. Raises JournalUnavailable."""
    with translating_errors(client):
        names = sorted(map(str, client.smembers(_MAILERS)))
        pipeline = client.pipeline(transaction=False)
        for name in names:
            pipeline.hgetall(_key(name))
        rows = pipeline.execute()
    return [
        Trouble(
            mailer=name,
            failures=int(row["failures"]),
            reason=sealer.readable(row["reason"]),
            alarm=row["alarm"] == "1",
            since=_time(row["since"]),
            not_before=_time(row["not_before"]),
        )
        for name, row in zip(names, rows, strict=True)
        if row
    ]


def _pause(wait: int | str) -> float:
    """The seconds until it is worth while to look again."""
    return min(int(wait) / 1000, _ASK_AGAIN)


def _key(mailer: str) -> str:
    return f"mailqueue:{{mailer:{mailer}}}:breaker"


def _jitter(chance: Callable[[], float]) -> float:
    return 1 - JITTER + 2 * JITTER * chance()


def _time(milliseconds: str) -> datetime:
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
