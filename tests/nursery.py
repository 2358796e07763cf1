"""Starts Celery's workers from a process that has imported Celery: nearly half of their start.

``Nursery`` is what tests use; the rest is run by that process, ``python -m tests.nursery``. A
worker is forked from it, gets an environment, a directory and a session of its own, and runs
`python -m celery …` from there on as any other does. It imports mailqueue itself: what that sets up
as it is imported is no other worker's.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.patience import wait_until

_IMPORTED = [
    *("celery.bin.celery", "celery.apps.worker", "celery.worker.consumer", "celery.app.trace"),
    *("celery.concurrency.prefork", "celery.concurrency.solo", "kombu.transport.redis"),
    *("click", "hiredis", "msgspec", "redis", "email.mime.multipart", "smtplib"),
]

NURSERIES: set[int] = set()  # the process ids


class Nursery:
    """The process that workers are forked from; it ends with the context."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()  # servers kill workers from threads of their own

    def __enter__(self) -> Nursery:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__], cwd=self._root, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, start_new_session=True,  # a Ctrl-C is pytest's
        )  # fmt: skip
        NURSERIES.add(self._process.pid)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def start(
        self, command: Sequence[str], environment: Mapping[str, str], cwd: Path, log: Path
    ) -> Forked:
        """Start ``python -m`` with this command, a module and its arguments."""
        request = [list(command), dict(environment), str(cwd), str(log)]
        return Forked(self, self.ask("start", *request))

    def ask(self, *request: Any) -> Any:
        with self._lock:
            assert self._process.stdin
            assert self._process.stdout
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
            assert answer, "the process that workers are forked from has ended"
            return json.loads(answer)


class Forked:
    """Such a process, used like one that ``subprocess.Popen`` has started."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self._nursery = nursery
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._nursery.ask("poll", self.pid)
        return self.returncode

    def wait(self, timeout: float = 60) -> int:
        wait_until(lambda: self.poll() is not None, timeout)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def serve() -> None:
    """Answer requests from the standard input until that ends; what is forked returns as well."""
    for name in _IMPORTED:
        import_module(name)
    assert "mailqueue" not in sys.modules
    statuses: dict[int, int | None] = {}
    for line in sys.stdin:
        operation, *arguments = json.loads(line)
        if operation == "start":
            answer: Any = os.fork()
            if answer == 0:
                become(*arguments)
                return
            statuses[answer] = None
        else:
            answer = statuses[arguments[0]] = status_of(*arguments, statuses[arguments[0]])
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def status_of(pid: int, known: int | None) -> int | None:
    """What a process ended with; the system says so once, and several threads may ask."""
    if known is not None:
        return known
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def become(command: list[str], environment: dict[str, str], cwd: str, log: str) -> None:
    """Run the module as ``python -m`` does, in a session of its own."""
    os.setsid()
    for number, path, mode in [(0, os.devnull, os.O_RDONLY), (1, log, os.O_WRONLY | os.O_CREAT)]:
        opened = os.open(path, mode)
        os.dup2(opened, number)
        os.close(opened)
    os.dup2(1, 2)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    more = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:1] = [cwd, *more]
    sys.argv = command
    runpy.run_module(command[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    serve()
