"""Files that are on the disk when they are said to be, for their owner or a group alone."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SUFFIX = ".json"


def check_directory(directory: Path) -> None:
    """Raise OSError where nothing could be kept there; nothing is made for that."""
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    if not existing.is_dir():
        raise NotADirectoryError(f"{existing} is no directory")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise PermissionError(f"{existing} can't be written")
    if existing == directory and directory.stat().st_mode & stat.S_IWOTH:
        raise PermissionError(f"{existing} can be written by everybody: `chmod o-w` it")


def make_directory(directory: Path) -> None:
    """Make a directory that nobody else can look into, and have its name on the disk."""
    if directory.is_dir():
        return
    if not directory.parent.is_dir():
        make_directory(directory.parent)
    directory.mkdir(mode=0o700, exist_ok=True)
    sync(directory.parent)


def make_subdirectory(directory: Path) -> None:
    """Make a directory for those for whom the one above it is."""
    if not directory.is_dir():
        make_directory(directory)
        with _opened(directory) as descriptor:
            _share(descriptor, directory.parent, 0o2770)


def write_synced(path: Path, text: str) -> None:
    """Write a new file, for those for whom its directory is, and have its content on the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        _share(descriptor, path.parent, 0o660)
        file.write(text)
        file.flush()
        os.fsync(descriptor)


def _share(descriptor: int, directory: Path, mode: int) -> None:
    """Let the group in that may write to the directory, if there is one; the world never.

    By the mode itself, since the umask of a program or worker is seldom made for sharing.
    """
    above = directory.stat()
    if not above.st_mode & stat.S_IWGRP:
        return
    if os.fstat(descriptor).st_gid != above.st_gid:
        os.fchown(descriptor, -1, above.st_gid)
    os.fchmod(descriptor, mode)


def sync(directory: Path) -> None:
    """Have the names in a directory on the disk."""
    with _opened(directory) as descriptor:
        os.fsync(descriptor)


@contextmanager
def locked(directory: Path, wait: bool) -> Iterator[bool]:
    """Keep other processes out that do the same; False where one is in, or nothing is there."""
    if not directory.is_dir():
        yield False
        return
    with _opened(directory) as descriptor:
        yield _lock(descriptor, wait)


def _lock(descriptor: int, wait: bool) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


@contextmanager
def _opened(directory: Path) -> Iterator[int]:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def names(directory: Path) -> Iterator[str]:
    """The names of the files there; those that begin with a dot aren't complete."""
    with suppress(FileNotFoundError), os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.endswith(SUFFIX) and not entry.name.startswith("."):
                yield entry.name


def files(directory: Path) -> list[Path]:
    """The complete files there, the oldest first."""
    return sorted((directory / name for name in names(directory)), key=time_written)


def time_written(path: Path) -> float:
    """When the file was written; what another process has removed meanwhile comes first."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
