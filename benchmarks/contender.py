"""The contenders: each a library with its settings, its broker and its worker, all started."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import redis

from benchmarks.process import ROOT, Program, cpu_seconds, family, memory
from mailqueue.conf.server import socket_path
from mailqueue.local.embedded import EmbeddedServer

OURS, CELERY_EMAIL, BARE = "mailqueue", "django-celery-email", "bare smtplib"
IN_DJANGO = "mailqueue, Django's classes"
BEFORE = ", before"  # what another version of ours is called
_QUIET, _PAUSE, _PATIENCE = 4, 0.05, 60.0  # looks without work, seconds between, seconds at most


@dataclass(frozen=True)
class Contender:
    """A row of the table. ``port`` is the kind of server that it needs.

    Ours may be another version, which lies in ``checkout`` with an environment of its own.
    """

    name: str
    library: str
    processes: int = 1
    settings: Mapping[str, str] = field(default_factory=dict)
    port: str = "pipelining"
    checkout: Path | None = None

    def before(self, checkout: Path) -> Contender:
        """The same of another version."""
        return replace(self, name=self.name + BEFORE, checkout=checkout)

    def is_in(self, checkout: Path) -> bool:
        """Whether that version's benchmarks have it."""
        module = self.settings.get("DJANGO_SETTINGS_MODULE", "benchmarks.driver")
        return checkout.joinpath(*module.split(".")).with_suffix(".py").exists()

    @property
    def is_ours(self) -> bool:
        """Whether it is mailqueue."""
        return self.library == OURS

    @property
    def has_celery(self) -> bool:
        """Whether it has a broker and Celery's workers."""
        return self.library in {OURS, CELERY_EMAIL}

    @property
    def has_command(self) -> bool:
        """Whether a management command is its worker."""
        return self.library in {"django-post_office", "django-mailer"}


CONTENDERS = [
    Contender(IN_DJANGO, OURS, 1, {"DJANGO_SETTINGS_MODULE": "benchmarks.settings"}),
    Contender(OURS, OURS),
    Contender("mailqueue, two workers", OURS, processes=2),
    Contender("mailqueue, ten in flight", OURS, 1, {"MAILQUEUE_IN_FLIGHT": "10"}, "chunking"),
    Contender("django-celery-email, chunks of 10", CELERY_EMAIL),
    Contender("django-celery-email, chunks of 100", CELERY_EMAIL, 1, {"CHUNK_SIZE": "100"}),
    Contender("django-post_office", "django-post_office"),
    Contender("django-mailer", "django-mailer"),
    Contender("Django's SMTP backend", "django"),
    Contender("smtplib, rendered before", BARE),
]


@dataclass(frozen=True)
class Usage:
    """What a contender's processes have used so far, or in between: seconds of CPU."""

    worker: float
    server: float

    def since(self, before: Usage) -> Usage:
        """The difference."""
        return Usage(self.worker - before.worker, self.server - before.server)


class Running:
    """A contender with its processes; everything it has lies in a directory of its own."""

    def __init__(
        self, contender: Contender, directory: Path, ports: Mapping[str, int], peers: Path
    ) -> None:
        self.contender = contender
        self.home = directory
        self.python = self._python(peers)
        self.environment = self._environment(ports[contender.port])
        self.stack = ExitStack()
        self.client: redis.Redis | None = None
        self.worker: Program | None = None

    @property
    def _is_from_here(self) -> bool:
        return self.contender.library in {OURS, BARE}

    def _python(self, peers: Path) -> Path:
        if self.contender.checkout is not None:
            return self.contender.checkout / ".venv" / "bin" / "python"
        return Path(sys.executable) if self._is_from_here else peers

    def __enter__(self) -> Running:
        self.home.mkdir(parents=True)
        with ExitStack() as stack:
            if self.contender.has_celery:
                stack.enter_context(EmbeddedServer(self.home))
                path = str(socket_path(self.home))
                self.client = redis.Redis(unix_socket_path=path, decode_responses=True)
                stack.callback(self.client.close)
            self.worker = self._start_worker(stack)
            self.driver = stack.enter_context(
                self._program("driver", "-m", "benchmarks.driver", self.contender.library)
            )
            self.driver.answer()
            self.stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stack.close()

    def _environment(self, port: int) -> dict[str, str]:
        common = {"EMAIL_HOST": "127.0.0.1", "EMAIL_PORT": str(port), "MAILQUEUE_HOME": self.home}
        if self.contender.is_ours:
            common["EMAIL_BACKEND"] = "mailqueue.backends.queue.EmailBackend"
        elif not self._is_from_here:
            common |= {"PEER": self.contender.library, "PEER_HOME": self.home}
            common["BROKER_URL"] = f"redis+socket://{socket_path(self.home)}"
            del common["MAILQUEUE_HOME"]
        return {
            name: str(value) for name, value in (common | dict(self.contender.settings)).items()
        }

    def _program(self, name: str, *words: str) -> Program:
        log, cwd = self.home / f"{name}.log", self.contender.checkout or ROOT
        return Program([self.python, *words], log, cwd, **self.environment)

    def _start_worker(self, stack: ExitStack) -> Program | None:
        if self.contender.has_celery:
            app = "workers" if self.contender.is_ours else "benchmarks.project"
            processes = str(self.contender.processes)
            words = ["-m", "celery", "-q", "-A", app, "worker", "-c", processes]
            return stack.enter_context(self._program("worker", *words))
        if self.contender.has_command:
            worker = stack.enter_context(self._program("worker", "-m", "benchmarks.command"))
            worker.answer()
            return worker
        return None

    def send(
        self, way: str, shape: str, first: int, number: int, every: float = 0.0
    ) -> dict[str, Any]:
        """Send, and where a command delivers, run it then; what the producer says of it."""
        words = {"way": way, "shape": shape, "first": first, "number": number, "every": every}
        took = self.driver.ask("send", **words)
        if self.worker is not None and self.contender.has_command:
            self.worker.ask("run")
        return took

    def usage(self) -> Usage:
        """What worker and server have computed so far."""
        return Usage(cpu_seconds(self._workers()), cpu_seconds(self._server()))

    def worker_memory(self) -> int:
        """Bytes of all processes of the worker."""
        return memory(self._workers())

    def server_memory(self) -> int:
        """Bytes that broker and journal use for data."""
        return int(self.client.info("memory")["used_memory"]) if self.client else 0

    def settle(self) -> None:
        """Wait until nobody does anything any more: results recorded, files rewritten."""
        deadline = time.monotonic() + _PATIENCE
        seen = [-1.0]
        while len(seen) < _QUIET or seen[-1] - seen[-_QUIET] > 0.011:  # one tick is nothing
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.contender.name} doesn't come to rest")
            time.sleep(_PAUSE)
            usage = self.usage()
            seen.append(usage.worker + usage.server)
            if self.client and self.client.info("persistence")["aof_rewrite_in_progress"]:
                seen = [-1.0]

    def unsettled(self) -> int:
        """How many messages our journal doesn't know as sent; none for others, who can't tell."""
        if not self.contender.is_ours or self.client is None:
            return 0
        totals = self.client.hgetall("mailqueue:{mailqueue}:totals")
        return int(totals.get("accepted", 0)) - int(totals.get("sent", 0))

    def _workers(self) -> list[int]:
        return family(self.worker.pid) if self.worker else []

    def _server(self) -> list[int]:
        return family(int((self.home / "valkey.pid").read_text())) if self.client else []
