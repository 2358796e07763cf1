"""The spool: one file for each message or result that the journal can't take now, replayed later.

::

    SPOOL_DIR/<id>.json                    a message that send() has accepted
    SPOOL_DIR/results/<id>-<token>.json    what an attempt to deliver a message came to
    SPOOL_DIR/damaged/                     files that can't be read, kept for a person

With ``SECRET_KEYS`` a file is sealed as a whole. Files are their owner's alone. Where a group may
write to ``SPOOL_DIR``, they are that group's too.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mailqueue.conf.spool import former_spool_directory, spool_directory
from mailqueue.errors import EnqueueError, ImproperlyConfigured, PayloadError
from mailqueue.state import State
from mailqueue.store.sealing import Sealer, current_sealer

from .files import (
    SUFFIX,
    check_directory,
    files,
    locked,
    make_directory,
    make_subdirectory,
    names,
    sync,
    time_written,
    write_synced,
)
from .journal import Claim, Entry, Journal, Result, SettledClaim, Settlement, open_journal
from .payload.blob import sha256
from .payload.codec import digest

VERSION = 1
# A journal that is away must not cost a time-out for each file; what is wrong with one message (its
# key is gone, say) must not hold up those behind it.
_OUTAGES_AT_MOST = 3
# What reading a damaged file raises.
_DAMAGED = (PayloadError, TypeError, ValueError, KeyError, AttributeError)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Waiting:
    """How many files there are: messages, results, and damaged ones of both kinds."""

    messages: int
    results: int
    damaged: int
    oldest: float = 0.0  # the age in seconds of the one that waits longest


@dataclass
class Replay:
    """What a replay came to: ``damaged`` files were moved aside, others stay for ``reasons``."""

    accepted: int = 0
    recorded: int = 0
    damaged: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    outages: int = 0

    @property
    def done(self) -> int:
        """How many files were replayed."""
        return self.accepted + self.recorded

    def add(self, other: Replay) -> None:
        """Count another replay in."""
        self.accepted += other.accepted
        self.recorded += other.recorded
        self.damaged += other.damaged
        self.reasons += other.reasons
        self.outages += other.outages


class Spool:
    """The files of one directory, which programs and workers of one machine share.

    Several may replay it at once: one does, and what one accepts no other accepts again.
    """

    def __init__(
        self,
        directory: Path,
        sealer: Sealer,
        open_journal: Callable[[str], Journal] = open_journal,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.directory = directory
        self._results = directory / "results"
        self._damaged = directory / "damaged"
        self._sealer = sealer
        self._open_journal = open_journal
        self._clock = clock

    # -- keeping

    def keep_messages(self, queue: str, entries: Sequence[Entry], *, fsync: bool) -> None:
        """Keep all of them or, raising OSError, none; on return they are on the disk."""
        shared = {"v": VERSION, "queue": queue, "fsync": fsync}
        self._write(
            self.directory,
            {entry.id: shared | {"entry": _dump_entry(entry)} for entry in entries},
        )

    def keep_result(self, queue: str, settled: SettledClaim) -> Path:
        """Keep what an attempt came to, until it can be settled. Raises OSError."""
        claim, result, worker = settled
        found = {
            "v": VERSION,
            "queue": queue,
            "worker": worker,
            "claim": claim._asdict() | {"payload": ""},
            "settlement": asdict(result),
            "at": self._clock(),
        }
        name = f"{claim.id}-{claim.token}"
        self._write(self._results, {name: found})
        return self._results / f"{name}{SUFFIX}"

    def _write(self, directory: Path, contents: Mapping[str, Mapping[str, Any]]) -> None:
        make_directory(self.directory)
        make_subdirectory(directory)
        temporary: dict[str, Path] = {}
        try:
            for name, content in contents.items():
                temporary[name] = directory / f".{name}.{secrets.token_hex(4)}"
                write_synced(temporary[name], self._sealer.seal(json.dumps(content)))
            for name, path in temporary.items():
                path.rename(directory / f"{name}{SUFFIX}")
            sync(directory)
        except OSError:
            for name, path in temporary.items():
                for written in (path, directory / f"{name}{SUFFIX}"):
                    with suppress(OSError):
                        written.unlink()
            raise

    # -- looking

    def waits(self) -> bool:
        """Whether there is anything to replay; costs next to nothing where there isn't.

        Somebody else's spool, which can't be looked into, is somebody else's to replay.
        """
        try:
            return any(names(self._results)) or any(names(self.directory))
        except OSError:
            return False

    def waiting(self) -> Waiting:
        """Count the files. Raises OSError where they belong to somebody else."""
        messages, results = files(self.directory), files(self._results)
        times = filter(None, map(time_written, (*messages, *results)))
        return Waiting(
            messages=len(messages),
            results=len(results),
            damaged=len(files(self._damaged)),
            oldest=max(0.0, self._clock() - min(times, default=self._clock())),
        )

    def find(self, id_: str) -> tuple[str, Entry] | None:
        """The message with that id and its queue; None where it isn't here, or can't be read."""
        if Path(id_).name != id_:
            return None
        try:
            found = self._read(self.directory / f"{id_}{SUFFIX}")
            return found["queue"], _load_entry(found["entry"])
        except (ImproperlyConfigured, OSError, *_DAMAGED):
            return None

    def check(self) -> None:
        """Raise OSError where nothing could be kept; nothing is made for that."""
        check_directory(self.directory)

    def prepare(self) -> None:
        """Make the directory. Raises OSError where nothing could be kept."""
        self.check()
        make_directory(self.directory)

    # -- replaying

    def replay(self, limit: int | None = None, *, wait: bool = True) -> Replay:
        """Hand files to the journal, results first and the oldest first; remove what it has taken.

        At most ``limit`` of them. While another process replays, it waits its turn or, without
        ``wait``, does nothing. What goes wrong is in the answer.
        """
        found = Replay()
        try:
            with self._alone(wait) as alone:
                for path, take in self._all() if alone else ():
                    if found.done == limit or found.outages == _OUTAGES_AT_MOST:
                        break
                    self._replay(path, take, found)
        except OSError as error:
            found.reasons.append(f"the spool can't be read: {error}")
        return found

    def _all(self) -> Iterator[tuple[Path, Callable[[Any, Replay], None]]]:
        # Results first: a message that is on record as sent isn't claimed again.
        yield from ((path, self._settle) for path in files(self._results))
        yield from ((path, self._accept) for path in files(self.directory))

    def _replay(self, path: Path, take: Callable[[Any, Replay], None], found: Replay) -> None:
        try:
            take(self._read(path), found)
            path.unlink(missing_ok=True)
        except (EnqueueError, ImproperlyConfigured, OSError) as error:
            found.reasons.append(f"{path.stem}: {error}")
            found.outages += isinstance(error, EnqueueError)
        except _DAMAGED as error:
            found.damaged.append(str(self._put_aside(path)))
            _log.error(
                "a damaged file of the spool was moved to %s: %s: %s",
                found.damaged[-1], type(error).__name__, error,
            )  # fmt: skip

    def _read(self, path: Path) -> Any:
        found = json.loads(self._sealer.open(path.read_text("utf-8")))
        if found["v"] != VERSION:
            raise PayloadError(f"its format version is {found['v']!r}, not {VERSION}")
        return found

    def _accept(self, found: Any, replay: Replay) -> None:
        entry = _load_entry(found["entry"])
        self._open_journal(found["queue"]).accept([entry], fsync=bool(found["fsync"]))
        replay.accepted += 1

    def _settle(self, found: Any, replay: Replay) -> None:
        claim = Claim(**found["claim"])
        elapsed = max(0.0, self._clock() - float(found["at"]))  # a clock may have stepped back
        settlement = _load_settlement(found["settlement"], elapsed)
        if self._open_journal(found["queue"]).settle(claim, settlement, found["worker"]):
            replay.recorded += 1
        else:
            _log.warning("message %s: its claim ended before its result was recorded", claim.id)

    def _put_aside(self, path: Path) -> Path:
        make_subdirectory(self._damaged)
        return path.rename(self._damaged / path.name)

    def _alone(self, wait: bool) -> AbstractContextManager[bool]:
        """Keep other replays out: one that read a file, and was stopped, must not accept it later.

        By then the message may have been sent and its record removed.
        """
        return locked(self.directory, wait)


def current_spool() -> Spool:
    """Return the spool of the settings. Raises ImproperlyConfigured for a user without a home."""
    return Spool(spool_directory(), current_sealer())


def spools_to_replay() -> list[Spool]:
    """Return the spool of the settings, and the one that earlier versions left here, if any."""
    former = former_spool_directory()
    return [current_spool(), *([Spool(former, current_sealer())] if former else [])]


def _dump_entry(entry: Entry) -> dict[str, Any]:
    return entry._asdict() | {
        "blobs": dict(entry.blobs),
        "send_at": entry.send_at and entry.send_at.isoformat(),
        "expires_at": entry.expires_at and entry.expires_at.isoformat(),
    }


def _load_entry(found: Mapping[str, Any]) -> Entry:
    times = {name: _moment(found[name]) for name in ("send_at", "expires_at")}
    entry = Entry(**{**found, **times})
    if digest(entry.payload) != entry.digest:
        raise PayloadError("its payload is not the one that was accepted")
    for name, content in entry.blobs.items():
        if sha256(content) != name:
            raise PayloadError(f"its attachment with the SHA-256 {name} is damaged")
    return entry


def _load_settlement(found: Mapping[str, Any], elapsed: float) -> Settlement:
    delay = found["delay"]
    return Settlement(
        state=State(found["state"]),
        reply=str(found["reply"]),
        results={a: Result(State(r["state"]), r["reply"]) for a, r in found["results"].items()},
        delay=None if delay is None else max(0.0, delay - elapsed),
        replies=found.get("replies", {}),  # earlier versions had none
    )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)
