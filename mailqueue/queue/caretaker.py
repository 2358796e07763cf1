"""Who looks after a spool: workers say so in the journal, so that a program can tell.

A spool is known by a random id that lies in it. Paths and names of hosts wouldn't do: containers
that share a volume see it at other paths, and have names of their own.
"""

from __future__ import annotations

import os
import secrets
import socket
from contextlib import suppress
from pathlib import Path

from mailqueue.store.client import Client, translating_errors

from .files import write_synced

_NAME = ".id"


def look_after(client: Client, directory: Path, seconds: float) -> None:
    """Say that this process replays the spool; it holds for ``seconds``.

    Raises OSError where the spool can't be given an id, and JournalUnavailable.
    """
    who = f"{socket.gethostname()}:{os.getpid()}"
    with translating_errors(client):
        client.set(_key(_ensured_id(directory)), who, px=round(seconds * 1000))


def caretaker_of(client: Client, directory: Path) -> str | None:
    """The worker that looks after the spool, or None. Raises OSError and JournalUnavailable."""
    id_ = _id(directory)
    if id_ is None:
        return None
    with translating_errors(client):
        found = client.get(_key(id_))
    return None if found is None else str(found)


def _key(id_: str) -> str:
    return f"mailqueue:spool:{id_}"


def _id(directory: Path) -> str | None:
    try:
        return (directory / _NAME).read_text("utf-8")
    except FileNotFoundError:
        return None


def _ensured_id(directory: Path) -> str:
    found = _id(directory)
    if found is not None:
        return found
    # Linked in one step: of two workers that start at once, one is too late and takes the other's.
    temporary = directory / f"{_NAME}.{secrets.token_hex(4)}"
    write_synced(temporary, secrets.token_hex(8))
    try:
        with suppress(FileExistsError):
            (directory / _NAME).hardlink_to(temporary)
    finally:
        temporary.unlink()
    return (directory / _NAME).read_text("utf-8")
