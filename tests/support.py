"""What tests are made of: waiting for a condition, a worker process, another process's answer."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.nursery import Forked, Nursery
from tests.patience import ended
from tests.patience import wait_until as wait_until

REDIS_SERVER = shutil.which("redis-server")
NEEDS_REDIS = pytest.mark.needs(
    "Redis", missing="" if REDIS_SERVER else "no redis-server on the PATH"
)
ROOT = Path(__file__).parents[1]
# How Python is called for a Django project: Django 6.1 warns of settings and parts that 5.2 has.
STRICT = (
    *("-W", "error", "-W", "ignore:The EMAIL_", "-W", "ignore:MIMEBase attachments are"),
    *("-W", "ignore:Using (name, address) pairs", "-W", "ignore:get_connection() is deprecated"),
    *("-W", "ignore:Directly creating EmailBackend", "-W", "ignore:The EmailMessage.connection"),
)
# The ENQUEUE_TIMEOUT of all tests that are not about it: a busy machine takes longer than 2 s.
PATIENT = "30s"


@dataclass
class Worker:
    """A worker process in a process group of its own.

    With a ``nursery`` it is started there, where the command is `python -m celery …`. But not for
    the pool `gevent`, which has Celery change what is imported after that.
    """

    command: Sequence[str]
    environment: Mapping[str, str]
    cwd: Path
    log: Path
    nursery: Nursery | None = None
    process: subprocess.Popen[bytes] | Forked = field(init=False)

    def __post_init__(self) -> None:
        is_celery = self.command[:2] == [sys.executable, "-m"] and "gevent" not in self.command
        if self.nursery and is_celery:
            self.log.touch()
            self.process = self.nursery.start(
                self.command[2:], self.environment, self.cwd, self.log
            )
            return
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                self.command,
                env=dict(self.environment),
                cwd=self.cwd,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def is_ready(self) -> bool:
        """Whether it has said so."""
        assert self.process.poll() is None, self.explain()
        return " ready." in self.log.read_text()

    def explain(self) -> str:
        return f"the log of the worker:\n{self.log.read_text()}"

    def children(self) -> list[int]:
        """The processes of its pool."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def stop(self, seconds: float = 30) -> int:
        """Ask it to stop, and wait for it."""
        self.process.send_signal(signal.SIGTERM)
        return ended(self.process, seconds)

    def kill(self) -> None:
        """Kill the whole process group at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()  # where it hasn't made a group of its own yet
        self.process.wait()


def in_django(values: dict[str, Any], code: str, **environment: str) -> Any:
    """What ``result`` is after that code ran in a process where Django is configured."""
    script = (
        "import json, sys; from django.conf import settings as django\n"
        f"django.configure(**{values!r})\n"
        "from mailqueue import configure, settings\n"
        "from mailqueue.errors import ImproperlyConfigured\n"
        f"{code}\nprint(json.dumps(result))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def printed(result: subprocess.CompletedProcess[str]) -> Any:
    """What a command printed, which did well, as JSON."""
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)
