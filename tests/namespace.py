"""A network of a test's own, in which packets can be dropped: a network namespace of Linux.

Nothing of it is left behind: it ends with the last process that is in it.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

_NEW_NETWORK = 0x40000000  # CLONE_NEWNET; Python has unshare() and setns() from 3.12 on
_LIBC = ctypes.CDLL(None, use_errno=True)


@contextmanager
def own_network() -> Iterator[None]:
    """Have this thread, and all that it starts meanwhile, see an empty loopback and nothing else.

    Raises OSError where the system doesn't allow it.
    """
    outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _call(_LIBC.unshare, _NEW_NETWORK)
        try:
            _run("ip", "link", "set", "lo", "up")
            yield
        finally:
            _call(_LIBC.setns, outside, _NEW_NETWORK)
    finally:
        os.close(outside)


def drop(port: int, other: int | None = None) -> None:
    """Drop what goes to and from that port; with the ``other``, between those two only."""
    _change("--append", port, other)


def let_through(port: int) -> None:
    """Take ``drop(port)`` back."""
    _change("--delete", port, None)


def forget(port: int) -> None:
    """Drop what goes over the connections to that port that there are, as a NAT does."""
    found = _run("ss", "-Htn", "state", "established", f"( sport = :{port} )")
    for line in found.splitlines():
        drop(port, int(line.split()[3].rpartition(":")[2]))


def _change(action: str, port: int, other: int | None) -> None:
    for here, there in (("--sport", "--dport"), ("--dport", "--sport")):
        ends = [here, str(port)] + ([there, str(other)] if other else [])
        _run("iptables", "--wait", action, "INPUT", "-p", "tcp", *ends, "-j", "DROP")


def _call(function: object, *arguments: int) -> None:
    if function(*arguments):  # type: ignore[operator]
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr}")
    return done.stdout


def _missing() -> str:
    """Why there can be no such network here, "" where there can."""
    lacking = [name for name in ("ip", "ss", "iptables") if not shutil.which(name)]
    if lacking:
        return f"no {', '.join(lacking)} on the PATH"
    try:
        with own_network():
            drop(1)
    except OSError as error:
        return str(error)
    return ""


NEEDS_NAMESPACE = pytest.mark.needs("a network namespace", missing=_missing())
