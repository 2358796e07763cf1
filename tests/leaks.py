"""What a test must not leave behind: processes, and what pytest's own process has open."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import redis

from tests import ports
from tests.lifeline import Processes
from tests.patience import Deadline

_PROC = Path("/proc/self")
_IS_LINUX = (_PROC / "fd").is_dir()
_LISTENING = "0A"


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
        return found

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
        if not self._opened():
            return []
        gc.collect()  # what nobody refers to is closed now, with a warning that fails this test
        if self._opened():
            _close_pools()
        return [_describe(target) for target in self._opened()]

    def _opened(self) -> list[str]:
        opened = [target for _, target in self.all() - self._allowed]
        if not opened:
            return []
        known = {f"socket:[{inode}]": ends for inode, *ends in _tcp_sockets()}
        allowed = {target for _, target in self._allowed}
        shared = ports.HELD | {
            port
            for target, (port, _, state) in known.items()
            if state == _LISTENING and target in allowed
        }
        return [
            target
            for target in opened
            if target not in known or shared.isdisjoint(known[target][:2])
        ]


def _close_pools() -> None:
    """Close the connections that pools keep: mailqueue never gives one of them up."""
    for thing in gc.get_objects():
        if isinstance(thing, redis.ConnectionPool):
            thing.disconnect()


def _tcp_sockets() -> Iterator[tuple[str, int, int, str]]:
    """Inode, own port, the other end's port, state."""
    for line in (_PROC / "net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        own, other = (int(end.rpartition(":")[2], 16) for end in fields[1:3])
        yield fields[9], own, other, fields[3]


def _describe(target: str) -> str:
    for inode, own, other, _ in _tcp_sockets():
        if target == f"socket:[{inode}]":
            return f"a TCP socket from port {own} to port {other}"
    return target


class Leaks:
    """Finds what a test has left behind; on other systems than Linux it finds nothing."""

    def __init__(self) -> None:
        self._processes = Processes() if _IS_LINUX else None
        self._descriptors = Descriptors() if _IS_LINUX else None

    def begin(self) -> None:
        """Take note of what is open before a test."""
        if self._descriptors:
            self._descriptors.begin()

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Let what is opened in this block, by a fixture of several tests, outlive a test."""
        with ExitStack() as stack:
            for kind in (self._processes, self._descriptors):
                if kind:
                    stack.enter_context(kind.shared())
            yield

    def end(self) -> None:
        """Raise AssertionError for what a test has left, and end its processes."""
        if self._processes is None or self._descriptors is None:
            return
        names = self._end_processes(self._processes)
        assert not names, f"the test left processes running: {', '.join(names)}"
        open_still = self._descriptors.left()
        assert not open_still, f"the test left open: {', '.join(open_still)}"

    @staticmethod
    def _end_processes(processes: Processes) -> list[str]:
        deadline = Deadline(5.0)  # those that were killed are gone in a moment
        while (left := processes.left()) and not deadline.is_over():
            pass
        names = [processes.describe(number) for number in left]
        for number in left:
            processes.kill(number)
        return names
