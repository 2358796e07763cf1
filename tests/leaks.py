"""What a test must not leave behind: processes, and what pytest's own process has open."""

from __future__ import annotations

import gc
import os
import socket
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import kombu
import pytest
import redis

from mailqueue.queue.broker import broker_of
from tests import ports
from tests.lifeline import Processes
from tests.patience import Deadline

_PROC = Path("/proc/self")


class Descriptors:
    """The files, pipes and sockets that this process has open.

    Shared, beside what a fixture of several tests has opened, are connections to and from servers
    that several tests use: a worker keeps its connection to such a mail server, and mailqueue's
    pools keep theirs to such a Valkey for the life of the process.
    """

    def __init__(self) -> None:
        self._allowed: set[tuple[str, str]] = set()

    def all(self) -> set[tuple[str, str]]:
        """Each descriptor with what it is open on."""
        found = set()
        for descriptor in (_PROC / "fd").iterdir():
            with suppress(OSError):
                found.add((descriptor.name, str(descriptor.readlink())))
        return {(number, target) for number, target in found if not target.startswith("anon_")}

    def begin(self) -> None:
        self._allowed = self.all()

    @contextmanager
    def shared(self) -> Iterator[None]:
        before = self.all()
        try:
            yield
        finally:
            self._allowed |= self.all() - before

    def left(self) -> list[str]:
        """What this test has left open, each in words."""
        if not self.all() - self._allowed:
            return []
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always", ResourceWarning)
            gc.collect()  # what nobody refers to is closed now, with a warning
        if self._opened():
            with warnings.catch_warnings():
                # By mailqueue's leave: what was open here it would have kept.
                warnings.simplefilter("ignore", ResourceWarning)
                _close_pools()
                gc.collect()
        deadline = Deadline(1.0)  # a server's threads close their sockets in a moment
        while self._opened() and not deadline.is_over():
            time.sleep(0.01)
        return [str(warning.message) for warning in seen] + self._opened()

    def _opened(self) -> list[str]:
        opened = self.all() - self._allowed
        if not opened:
            return []
        own = [_Ends.of(*allowed) for allowed in self._allowed]
        shared = ports.HELD | {ends.own for ends in own if ends and ends.is_listening}
        found = {target: _Ends.of(number, target) for number, target in opened}
        return [
            f"{target} {ends or ''}"
            for target, ends in found.items()
            if not ends or shared.isdisjoint((ends.own, ends.other))
        ]


class _Ends(NamedTuple):
    """A TCP socket: its own port, the other end's (0 if there is none)."""

    own: int
    other: int
    is_listening: bool

    @staticmethod
    def of(number: str, target: str) -> _Ends | None:
        """None: it is no such socket, or closed by now."""
        if not target.startswith("socket:"):
            return None
        with suppress(OSError), socket.socket(fileno=os.dup(int(number))) as found:
            if found.family != socket.AF_INET:
                return None
            own = found.getsockname()[1]
            listening = bool(found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
            try:
                return _Ends(own, found.getpeername()[1], listening)
            except OSError:
                return _Ends(own, 0, listening)
        return None


def _close_pools() -> None:
    """Close what mailqueue keeps for the life of a process: its connections to any server."""
    broker_of.cache_clear()
    for thing in gc.get_objects():
        kind = type(thing)  # isinstance() would have lazy objects come to life
        if issubclass(kind, kombu.Connection):
            thing.release()
        elif issubclass(kind, redis.ConnectionPool):
            thing.disconnect()


class Leaks:
    """A plugin that fails a test for what it leaves, by what Linux says of processes.

    (A conftest's own hooks are not called for what a session's fixtures do.)
    """

    def __init__(self) -> None:
        self._processes = Processes()
        self._descriptors = Descriptors()

    def pytest_collection_finish(self) -> None:
        """Spare the collections after tests what stays for ever anyway."""
        gc.collect()
        gc.freeze()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Iterator[None]:
        """What is open before a test may be open after it."""
        self._descriptors.begin()
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[object]) -> Iterator[None]:
        """What a fixture of several tests opens is theirs."""
        with ExitStack() as stack:
            if fixturedef.scope != "function":
                stack.enter_context(self._processes.shared())
                stack.enter_context(self._descriptors.shared())
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self) -> Iterator[None]:
        """A process or a socket that a test leaves fails that test, not another."""
        try:
            return (yield)
        finally:
            names = self._end_processes()
            assert not names, f"the test left processes running: {', '.join(names)}"
            open_still = self._descriptors.left()
            assert not open_still, f"the test left open: {', '.join(open_still)}"

    def _end_processes(self) -> list[str]:
        deadline = Deadline(1.0)  # those that were killed are gone in a moment
        while (left := self._processes.left()) and not deadline.is_over():
            time.sleep(0.01)
        names = [self._processes.describe(number) for number in left]
        for number in left:
            self._processes.kill(number)
        return names
