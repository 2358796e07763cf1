"""Where the spool is: ``SPOOL_DIR``, or one place for a user on a machine."""

from __future__ import annotations

import os
import pwd
from contextlib import suppress
from pathlib import Path

from mailqueue.errors import ImproperlyConfigured

from .keys import settings
from .lookup import home
from .setting import read_variable


def spool_directory() -> Path:
    """The directory of the spool, whatever the working directory is.

    Without ``SPOOL_DIR`` it is ``mailqueue/spool`` under the user's state directory (XDG Base
    Directory Specification): ``$XDG_STATE_HOME``, or ``~/.local/state``. A relative path in that
    variable is ignored, as the specification has it. Raises ImproperlyConfigured for a user without
    a home.
    """
    chosen = settings.MAILQUEUE.SPOOL_DIR
    return Path(chosen) if chosen else _state_directory() / "mailqueue" / "spool"


def former_spool_directory() -> Path | None:
    """Where the spool was in earlier versions, if there is such a directory.

    It depended on the working directory, so only what runs in the same one finds it.
    """
    if settings.MAILQUEUE.SPOOL_DIR:
        return None
    try:
        directory = home() / "spool"
    except ImproperlyConfigured:  # the working directory is gone
        return None
    return directory if directory.is_dir() else None


def _state_directory() -> Path:
    chosen = read_variable("XDG_STATE_HOME") or ""
    return Path(chosen) if _is_absolute(chosen) else _user_home() / ".local" / "state"


def _user_home() -> Path:
    """``$HOME``, else what the user database says: not every program is started with the former."""
    found = read_variable("HOME") or ""
    if not _is_absolute(found):
        with suppress(KeyError):  # containers run programs as users that nobody knows
            found = pwd.getpwuid(os.getuid()).pw_dir
    if not _is_absolute(found):
        raise ImproperlyConfigured(
            "this user has no home directory for the spool: set MAILQUEUE['SPOOL_DIR'] to the "
            "absolute path of a directory"
        )
    return Path(found)


def _is_absolute(path: str) -> bool:
    return os.path.isabs(path)  # noqa: PTH117 - a Path takes longer to make, and this is often asked
