"""A worker in a process of its own, which ends with this one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from mailqueue.conf.lookup import LIFELINE, home
from mailqueue.errors import MailqueueError

from .stop import Stop

DEFAULT_APP = "mailqueue"
_WORKER_STOPS_WITHIN = 60.0  # seconds; a message whose end is under way is finished


class WorkerError(MailqueueError):
    """The worker process did not start, or ended by itself."""


def worker_command(app: str, options: Sequence[str] = ()) -> list[str]:
    """Return the command line of a Celery worker for that application."""
    return [sys.executable, "-m", "celery", "--quiet", "--app", app, "worker", *options]


@contextmanager
def process_with_lifeline(
    command: Sequence[str], environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run it for as long as the block lasts, or this process."""
    # The worker holds one end of a pipe and ends when the other closes: however this process dies,
    # it leaves no worker behind that would deliver to an inbox that is gone.
    lifeline, ours = os.pipe()
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own arguments
        command,
        env={
            **os.environ,
            **environment,
            "MAILQUEUE_HOME": str(home()),
            LIFELINE: str(lifeline),
        },
        pass_fds=[lifeline],
        # Out of the terminal's process group: Ctrl-C is for `up`, which stops things in order.
        start_new_session=True,
    )
    os.close(lifeline)
    try:
        yield process
    finally:
        _stop(process)
        os.close(ours)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_WORKER_STOPS_WITHIN)
    # Whatever is left of it, such as a pool whose main process was killed.
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def check_alive(worker: subprocess.Popen[bytes]) -> None:
    """Raise WorkerError where it has ended."""
    if worker.poll() is not None:
        raise WorkerError(f"the worker ended by itself, with exit status {worker.returncode}")


def run_worker(command: Sequence[str], stop: Stop) -> int:
    """Run a worker in the foreground until it ends or ``stop`` is set; return its exit status."""
    with process_with_lifeline(command, {}) as process:
        while process.poll() is None and not stop.wait(0.2):
            pass
        _stop(process)
    # One that is told to stop before it listens to that is ended by the signal, as asked for.
    return 0 if process.returncode == -signal.SIGTERM else process.returncode
