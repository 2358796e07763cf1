"""The lifeline of what tests start: no process outlives its test, nor a killed pytest.

Every process inherits a variable that names the run and pytest's own process. After each test
nobody who carries it may be left but those that are shared by several tests. A guardian, which
holds the other end of a pipe, kills all of the run when pytest ends, however it ends.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.nursery import NURSERIES

VARIABLE = "TEST_RUN"
SHARED = "TEST_SHARED"  # in the environment of a server that several tests use
_PROC = Path("/proc")
_SHARED = re.compile(SHARED.encode() + b"=")

_GUARDIAN = """
import os, signal, sys
sys.stdin.buffer.readline()
mark = sys.argv[1].encode()
found = True
while found:
    found = False
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                with open(f"/proc/{name}/environ", "rb") as file:
                    marked = any(line.startswith(mark) for line in file.read().split(b"\\0"))
                if marked:
                    os.kill(int(name), signal.SIGKILL)
                    found = True
            except OSError:
                pass
"""


def _status(number: int) -> list[str]:
    """What Linux says of a process from its state on, see proc_pid_stat(5); [] if it is gone."""
    with suppress(OSError):
        return (_PROC / str(number) / "stat").read_text().rpartition(")")[2].split()
    return []


def _parent(number: int) -> int:
    found = _status(number)
    return int(found[1]) if found else 0


def _is_beginning(number: int) -> bool:
    """Whether exec() has yet to say where its variables are: it may be held up before that."""
    found = _status(number)
    return bool(found) and found[0] != "Z" and found[47] == "0"


class Guardian:
    """A process that waits for the end of this one, and then kills all that it has started."""

    def __init__(self) -> None:
        run = f"{VARIABLE}={uuid.uuid4().hex}"
        os.environ[VARIABLE] = run.partition("=")[2]
        environment = {name: text for name, text in os.environ.items() if name != VARIABLE}
        # A session of its own: a Ctrl-C is for pytest, whose end the guardian is there for.
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-c", _GUARDIAN, run],
            stdin=subprocess.PIPE, env=environment, start_new_session=True,
        )  # fmt: skip

    def dismiss(self) -> None:
        """Let it kill what is left, and end."""
        assert self._process.stdin is not None
        with self._process.stdin as pipe:
            # The pipe's end alone wouldn't tell it while somebody has inherited the pipe by a fork.
            pipe.write(b"done\n")
        self._process.wait()


class Processes:
    """Those that this pytest process has started, or their children, and that are still there."""

    def __init__(self) -> None:
        self._mark = f"{VARIABLE}={os.environ[VARIABLE]}".encode()
        self._strangers: set[str] = set()
        self._shared: set[int] = set()
        self._shared |= self.all()

    def all(self) -> set[int]:
        """Their process ids."""
        numbers = {path.name for path in _PROC.iterdir() if path.name.isdigit()}
        self._strangers &= numbers
        found = {name: self._variables(name) for name in numbers - self._strangers}
        ours = {name for name, variables in found.items() if self._mark in variables}
        for name in found.keys() - ours:
            found[name] = found[name] or self._when_begun(int(name), ours)
        ours = {name for name, variables in found.items() if self._mark in variables}
        # Without any it may be one that is only just beginning.
        self._strangers |= {name for name in found.keys() - ours if found[name]}
        return {int(name) for name in ours if not any(map(_SHARED.match, found[name]))}

    def _when_begun(self, number: int, ours: set[str]) -> list[bytes]:
        """The variables of a child of ours that is only just beginning, as soon as it has any."""
        if _parent(number) == os.getpid() or str(_parent(number)) in ours:
            while _is_beginning(number):
                time.sleep(0.001)
            return self._variables(str(number))
        return []

    @staticmethod
    def _variables(name: str) -> list[bytes]:
        with suppress(OSError):
            return [text for text in (_PROC / name / "environ").read_bytes().split(b"\0") if text]
        return []

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Take what begins in this block for processes that several tests use."""
        before = self.all()
        try:
            yield
        finally:
            self._shared |= self.all() - before

    def left(self) -> set[int]:
        """Those that no test but the one that has ended can have left."""
        found = self.all() - self._shared
        # Nor has it left what a shared worker puts in the place of a process that has ended.
        lasting = self._shared - {os.getpid()} - NURSERIES
        return {number for number in found if _parent(number) not in lasting}

    @staticmethod
    def describe(number: int) -> str:
        with suppress(OSError):
            command = (_PROC / str(number) / "cmdline").read_bytes().replace(b"\0", b" ")
            return f"{number} ({command.decode(errors='replace').strip()})"
        return f"{number} (gone by now)"

    @staticmethod
    def kill(number: int) -> None:
        with suppress(OSError):
            os.kill(number, signal.SIGKILL)
