"""The programs that a benchmark consists of: started, asked, measured and ended.

They answer lines of JSON with lines of JSON. Python's standard library is all that this module
needs, because the peers' programs import it in an environment without mailqueue.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).parents[1]
_TICKS, _PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
_PATIENCE = 900.0  # seconds for an answer
_END = 30.0  # seconds for a program to end when it is asked


class ProgramFailedError(Exception):
    """A program ended, or didn't answer; the end of its log says why."""


def clean_environment(**variables: str) -> dict[str, str]:
    """The environment without settings of mail, and with these variables."""
    ours = ("EMAIL_", "MAILQUEUE_", "DJANGO_", "CELERY_", "PYTHONPATH")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | variables


class Program:
    """A child process with a log of its own; ``ask`` needs it to call ``answer_requests``."""

    def __init__(
        self, command: Iterable[object], log: Path, cwd: Path = ROOT, **environment: str
    ) -> None:
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                cwd=cwd,
                env=clean_environment(**environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                bufsize=0,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def answer(self, seconds: float = _PATIENCE) -> dict[str, Any]:
        """The next line that it prints."""
        output = self.process.stdout
        if output is None or not select.select([output], [], [], seconds)[0]:
            raise ProgramFailedError(f"no answer within {seconds} s\n{self.end_of_log()}")
        line = output.readline()
        if not line:
            raise ProgramFailedError(f"ended with {self.process.wait()}\n{self.end_of_log()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, request: str, **arguments: object) -> dict[str, Any]:
        """Ask, and wait for the answer."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps([request, arguments]).encode() + b"\n")
        except BrokenPipeError:
            raise ProgramFailedError(self.end_of_log()) from None
        return self.answer()

    def end_of_log(self) -> str:
        """Its last words."""
        lines = self.log.read_text(errors="replace").splitlines()[-15:]
        return "\n".join([f"{self.process.args}:", *lines])

    def stop(self) -> None:
        """Ask it to end, and kill it where it doesn't."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()
        self.process.terminate()
        try:
            self.process.wait(_END)
        except subprocess.TimeoutExpired:
            for pid in family(self.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, 9)
            self.process.wait()

    def __enter__(self) -> Program:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def end_orderly() -> None:
    """Let whoever ends this benchmark end all that it has started, too."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))


def answer_requests(
    requests: Mapping[str, Callable[..., Mapping[str, Any]]], **greeting: object
) -> None:
    """In the program: say hello, then answer each line until the standard input ends."""
    print(json.dumps(greeting), flush=True)
    for line in sys.stdin:
        name, arguments = json.loads(line)
        print(json.dumps(requests[name](**arguments)), flush=True)


def family(pid: int) -> list[int]:
    """The process and all that descend from it."""
    found = [pid]
    for parent in found:
        with suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """What these processes, and those of their children that have ended, have computed so far."""
    ticks = 0
    for pid in pids:
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / _TICKS


def memory(pids: Iterable[int]) -> int:
    """Bytes of resident memory of these processes; what several share is counted for each.

    Counting it once would need a walk through all pages, which takes longer the more there are.
    """
    pages = 0
    for pid in pids:
        with suppress(OSError):
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * _PAGE


def forget_peak() -> None:
    """Let the peak of this process begin anew."""
    with suppress(OSError):  # then it is the highest of its life
        Path("/proc/self/clear_refs").write_text("5")


def peak() -> int:
    """The most memory that this process has held since then, in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024
