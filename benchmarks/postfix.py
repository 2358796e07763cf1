"""Postfix's `smtp-sink`, a server that throws away what it takes: found, or unpacked for this run.

It keeps no content here while a run is timed: it counts. A run of its own, which isn't timed, has
it write each message to a file, and those are judged.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.oracle import Received, judge
from benchmarks.process import ROOT, clean_environment

_UNPACKED = ROOT / "build" / "postfix"
_START, _PAUSE = 10.0, 0.002  # seconds
_RECIPIENT = re.compile(rb"^X-Rcpt-Args: <(.*?)>", re.M)


def find_smtp_sink() -> Path | None:
    """The program; where it isn't installed, Debian's package is unpacked under `build`."""
    installed = shutil.which("smtp-sink", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if installed:
        return Path(installed)
    unpacked = _UNPACKED / "usr" / "sbin" / "smtp-sink"
    if not unpacked.exists() and shutil.which("apt-get"):
        _UNPACKED.mkdir(parents=True, exist_ok=True)
        command = ["apt-get", "-qq", "download", "postfix"]
        subprocess.run(command, cwd=_UNPACKED, check=False, stderr=subprocess.DEVNULL)
        for package in _UNPACKED.glob("postfix_*.deb"):
            subprocess.run(["dpkg", "-x", package, _UNPACKED], check=False)
    return unpacked if unpacked.exists() else None


class SmtpSink:
    """A running `smtp-sink`, with what the benchmark asks of a server."""

    def __init__(self, program: Path, directory: Path) -> None:
        self.program, self.directory = program, directory
        # It gives up root's rights, and then has to reach its directory all the same.
        directory.mkdir(mode=0o777)
        directory.chmod(0o777)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port: int = listener.getsockname()[1]
        self.ports = {"pipelining": self.port}
        self.process: subprocess.Popen[bytes] | None = None
        self.restart(keeping=False)

    def restart(self, *, keeping: bool) -> None:
        """Start it anew on its port; with ``keeping``, it writes each message to a file."""
        self.close()
        self.log = self.directory / f"count-{time.monotonic_ns()}"
        options = ["-c"]
        if os.geteuid() == 0:
            options += ["-u", "nobody"]
        if keeping:
            options += ["-d", f"{self.directory}/message."]
        libraries = self.program.parents[1] / "lib" / "postfix"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [self.program, *options, f"127.0.0.1:{self.port}", "128"],
                env=clean_environment(LD_LIBRARY_PATH=str(libraries)),
                stdout=output,
                stderr=output,
            )
        self._wait_for_port()
        self.before = 0

    def _wait_for_port(self) -> None:
        deadline = time.monotonic() + _START
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
            except ConnectionRefusedError:
                if time.monotonic() > deadline:
                    raise TimeoutError(self.log.read_text()) from None
                time.sleep(_PAUSE)
            else:
                return

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.process is not None
        return self.process.pid

    def count(self) -> int:
        """How many messages it has taken, by its own running count."""
        with self.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 200))
            # The last count may be half written.
            found = re.findall(rb"mesg=(\d+)\r", log.read())
        return int(found[-1]) if found else 0

    def expect(self, number: int) -> None:
        """Await so many messages."""
        self.before, self.awaited = self.count(), number
        for path in self.directory.glob("message.*"):
            path.unlink()

    def wait(self, seconds: float) -> dict[str, Any]:
        """When the last of them came, within some milliseconds; None: it didn't."""
        deadline = time.monotonic() + seconds
        while (count := self.count() - self.before) < self.awaited and time.monotonic() < deadline:
            time.sleep(_PAUSE)
        # It may have counted the last one long before anybody looked.
        ago = max(0.0, time.time() - self.log.stat().st_mtime)
        return {"at": time.monotonic() - ago if count >= self.awaited else None, "count": count}

    def verify(self, shape: str, first: int, number: int) -> dict[str, Any]:
        """Judge the files, where it writes them; else its count has to be right."""
        files = list(self.directory.glob("message.*"))
        if not files:
            surplus = self.count() - self.before - number
            return {"lost": max(0, -surplus), "doubled": max(0, surplus), "wrong": 0, "bytes": 0}
        verdict = judge(_received(files), shape, range(first, first + number))
        return {**vars(verdict), "bytes": sum(path.stat().st_size for path in files)}

    def close(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait()


def _received(files: list[Path]) -> Iterator[Received]:
    for path in files:
        # Its own headers come first, the envelope among them; they don't hurt in a message.
        content = path.read_bytes()
        recipients = tuple(found.decode() for found in _RECIPIENT.findall(content))
        yield Received(recipients, content)
