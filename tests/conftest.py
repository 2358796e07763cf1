"""Fixtures for all tests: real servers on free ports, real workers, a scrubbed environment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner

import mailqueue
from mailqueue.cli.group import main
from mailqueue.conf import settings
from mailqueue.oauth2.cache import tokens
from mailqueue.testing import RecordingServer
from tests import profiles
from tests.leaks import Leaks
from tests.lifeline import VARIABLE, Guardian
from tests.nursery import Nursery
from tests.ports import HeldPort
from tests.servers import Valkey
from tests.support import PATIENT, ROOT, Worker, wait_until

IN_CI = bool(os.environ.get("CI"))
_ORDER = ["faults", "packaging", "system", "contracts"]  # the longest first


@pytest.fixture(autouse=True)
def scrubbed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No setting comes from the machine the tests run on, and none outlives a test."""
    for name in list(os.environ):
        if name.startswith(("EMAIL_", "MAILQUEUE_", "DJANGO_", "CELERY_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MAILQUEUE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("MAILQUEUE_ENQUEUE_TIMEOUT", PATIENT)
    settings.reset()
    # What the process keeps: mail in memory, and tokens.
    vars(mailqueue).pop("outbox", None)
    tokens.reset()
    yield
    settings.reset()


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A real Valkey with an append-only file, on a port of loopback."""
    with Valkey(tmp_path_factory.mktemp("valkey"), appendonly="yes") as server:
        yield server


@pytest.fixture
def redis_url(valkey: Valkey) -> str:
    """The URL of an empty database on a real Valkey."""
    with redis.Redis.from_url(valkey.connection_url) as client:
        client.flushall()
    return valkey.url


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """What a test enters here is left at its end."""
    with ExitStack() as found:
        yield found


@pytest.fixture
def smtp_server() -> Iterator[RecordingServer]:
    """A real SMTP server that keeps what it gets and answers as it is told."""
    with RecordingServer() as server:
        yield server


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port on which nothing listens."""
    with HeldPort() as port:
        yield port


@pytest.fixture
def queue_settings(redis_url: str, smtp_server: RecordingServer) -> dict[str, str]:
    """The environment of a producer and its workers, with times that suit a test."""
    return {
        "EMAIL_BACKEND": "mailqueue.backends.queue.EmailBackend",
        "EMAIL_HOST": "127.0.0.1",
        "EMAIL_PORT": str(smtp_server.port),
        "MAILQUEUE_BROKER_URL": redis_url,
        "MAILQUEUE_RETRY": "1s, 1s, 1s",
    }


@pytest.fixture
def producer(queue_settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """This process queues what it sends."""
    for name, value in queue_settings.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Where workers are started from."""
    with Nursery(ROOT) as found:
        yield found


@pytest.fixture
def start_worker(
    queue_settings: dict[str, str], tmp_path: Path, nursery: Nursery
) -> Iterator[Callable[..., Worker]]:
    """Start real workers, `celery -A workers worker`; those still running at the end are killed."""
    with ExitStack() as stack:

        def start(*options: str, app: str = "workers", **environment: str) -> Worker:
            worker = Worker(
                [
                    sys.executable,
                    "-m",
                    "celery",
                    "-A",
                    app,
                    "worker",
                    "-c",
                    "1",
                    "-l",
                    "INFO",
                    "--without-mingle",  # a worker waits a second for others to answer
                    *options,
                ],
                {**os.environ, **queue_settings, **environment},
                cwd=ROOT,
                log=tmp_path / f"worker-{len(list(tmp_path.iterdir()))}.log",
                nursery=nursery,
            )
            stack.callback(worker.kill)
            wait_until(worker.is_ready, 30, worker.explain)
            return worker

        yield start


@pytest.fixture
def run_cli(monkeypatch: pytest.MonkeyPatch) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `mailqueue …` within this process, which saves the start of another."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "path", [*sys.path])  # the command puts the working directory there
            result = CliRunner(env=environment).invoke(main, arguments, prog_name="mailqueue")
        error = result.stderr
        if result.exc_info and not isinstance(result.exception, SystemExit | None):
            error += "".join(traceback.format_exception(result.exception))
        return subprocess.CompletedProcess(arguments, result.exit_code, result.stdout, error)

    return run


@pytest.fixture
def run_command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `mailqueue …` as a process of its own."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mailqueue", *arguments],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
        )

    return run


def pytest_configure(config: pytest.Config) -> None:
    """Set up what holds for the whole run: signals, profiles, the lifeline of what tests start."""
    _hear_signals()
    profiles.load(*profiles.of(config))
    if sys.platform != "linux":  # without its /proc nothing of this works
        return
    if hasattr(config, "workerinput"):  # a process of pytest-xdist
        os.environ[VARIABLE] += f".{config.workerinput['workerid']}"
    else:
        config.add_cleanup(Guardian().dismiss)
    config.pluginmanager.register(Leaks())


def _hear_signals() -> None:
    """Hear SIGINT and SIGHUP, also when started by `nohup` or a shell in the background.

    They have their children ignore these, what tests start would inherit that, and not end.
    """
    for number, usual in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGHUP, lambda *_: None),  # so that `nohup` works; programs don't inherit it
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


def pytest_report_header(config: pytest.Config) -> str:
    """Which random examples are tried, so that they can be had again."""
    profile, seed = profiles.of(config)
    return f"hypothesis: {profile} examples, {f'seed {seed}' if seed else 'the same each time'}"


def pytest_xdist_auto_num_workers() -> int | None:
    """Twice as many processes as cores, and one: half of the time tests wait."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None  # as it says
    of_ours = getattr(os, "sched_getaffinity", None)
    cores = len(of_ours(0)) if of_ours else os.cpu_count() or 1
    return min(2 * cores + 1, 16)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let one process run the tests that share a worker; begin with what takes longest."""
    for item in items:
        definitions = item._fixtureinfo.name2fixturedefs.values()
        if any(chain[-1].scope == "module" for chain in definitions):
            item.add_marker(pytest.mark.xdist_group(item.module.__name__))
    items.sort(key=lambda item: [kind not in item.path.parts for kind in _ORDER])


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A missing service skips on a laptop and fails in CI."""
    for marker in item.iter_markers("needs"):
        missing = marker.kwargs["missing"]
        if missing and IN_CI:
            pytest.fail(f"{marker.args[0]} is missing in CI: {missing}")
        if missing:
            pytest.skip(f"needs {marker.args[0]}: {missing}")


@pytest.fixture(autouse=True)
def _signals_untouched() -> Iterator[None]:
    """No test leaves a signal handler behind."""
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    yield
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
