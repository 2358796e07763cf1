"""A file by which a worker of this machine shows that it lives, whatever its servers do."""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from mailqueue.conf.lookup import home
from mailqueue.conf.setting import read_variable
from mailqueue.errors import MailqueueError

_log = logging.getLogger(__name__)
# Seconds. A beat comes every second, but a round of the timer may wait for a journal that says
# nothing, several times `ENQUEUE_TIMEOUT`.
_ALIVE_WITHIN = 30.0


class Living(NamedTuple):
    """A worker whose process is there and whose timer beat lately, ``age`` seconds ago.

    ``worker`` is its name in `mailqueue status`, ``node`` the one that Celery knows it by.
    """

    worker: str
    node: str
    age: float


class Heartbeat:
    """The file of this process, written anew at each beat; where it can't be, one warning."""

    def __init__(self, worker: str, node: str) -> None:
        self._text = json.dumps({"worker": worker, "node": node})
        self._warned = False

    def beat(self) -> None:
        """Show that the worker lives. It never raises: mail moves without it."""
        try:
            self._show()
        except (OSError, RuntimeError, MailqueueError) as error:  # such as a user without a home
            if not self._warned:
                _log.warning("`mailqueue health --live` can't know of this worker: %s", error)
            self._warned = True

    def end(self) -> None:
        """Take the file away."""
        with suppress(OSError, RuntimeError, MailqueueError):
            _own_file().unlink(missing_ok=True)

    def _show(self) -> None:
        path = _own_file()
        try:
            os.utime(path)
        except FileNotFoundError:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            whole = path.with_suffix(".new")  # nobody reads half a file
            whole.write_text(self._text, "utf-8")
            whole.replace(path)


def directory() -> Path:
    """Where the files are: under ``MAILQUEUE_HOME`` where that is set, else the user's state.

    The latter is ``$XDG_STATE_HOME/mailqueue``, by default ``~/.local/state/mailqueue`` (XDG Base
    Directory Specification). The working directory would be another one for who asks.
    """
    if read_variable("MAILQUEUE_HOME"):
        return home() / "workers"
    state = read_variable("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "mailqueue" / "workers"


def living() -> list[Living]:
    """The workers of this machine and user that live, by name.

    Files of processes that have ended are removed on the way.
    """
    return sorted(_living())


def _living() -> Iterator[Living]:
    # Another machine may share the directory: its processes have the same numbers.
    for path in directory().glob(f"{socket.gethostname()}.*.json"):
        # Somebody else may remove it, or write it, just now.
        with suppress(OSError, ValueError, KeyError):
            age = abs(time.time() - path.stat().st_mtime)
            if not _is_there(int(path.stem.rpartition(".")[2])):
                path.unlink()
            elif age <= _ALIVE_WITHIN:
                said = json.loads(path.read_text("utf-8"))
                yield Living(str(said["worker"]), str(said["node"]), age)


def _is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _own_file() -> Path:
    return directory() / f"{socket.gethostname()}.{os.getpid()}.json"
