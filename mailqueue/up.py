"""Everything in one foreground command: embedded server, worker, catch-all inbox."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from .conf import LIFELINE, django_settings, home, settings
from .embedded import EmbeddedServer
from .errors import MailqueueError
from .inbox import Inbox
from .journal import open_journal
from .urls import broker_url, redacted, uses_embedded_server

DEFAULT_APP = "mailqueue"
_READY_WITHIN = 30.0  # seconds
_WORKER_STOPS_WITHIN = 60.0  # seconds; a message whose end is under way is finished


class WorkerError(MailqueueError):
    """The worker process did not start, or ended by itself."""


def worker_command(app: str, options: Sequence[str] = ()) -> list[str]:
    """Return the command line of a Celery worker for that application."""
    return [sys.executable, "-m", "celery", "--quiet", "--app", app, "worker", *options]


def run(app: str, inbox_port: int, options: Sequence[str], say: Callable[[str], None]) -> None:
    """Start everything, say where it is, and stop it all in order on SIGINT or SIGTERM.

    The order of the end: the worker finishes the message in hand, then the inbox stops, then the
    server, so that nothing that was accepted or delivered goes unrecorded. Raises WorkerError when
    the worker ends by itself.
    """
    with ExitStack() as stack:
        stop = stack.enter_context(until_stopped())
        server = stack.enter_context(EmbeddedServer(home())) if uses_embedded_server() else None
        inbox = stack.enter_context(Inbox(home() / "Maildir", port=inbox_port))
        command = worker_command(app, options)
        worker = stack.enter_context(_process(command, _mail_settings(inbox)))
        if _wait_until_ready(worker, stop):
            say(introduction(inbox))
        while not stop.wait(0.5):
            _check_alive(worker)
            if server is not None and server.revive():
                say("the embedded server had ended; it runs again")
        say("stopping: the worker finishes the message in hand")


def introduction(inbox: Inbox) -> str:
    """What to put into one's settings to send through what is running here."""
    environment = os.environ.get("MAILQUEUE_HOME")
    lines = [
        "mailqueue is up. Ctrl-C stops it; what is queued stays queued.",
        "",
        f"  broker   {redacted(broker_url())}",
        f"  inbox    127.0.0.1:{inbox.port}, keeps what it gets in {home() / 'Maildir'}",
        "",
        "Send through it, in Django's settings or by mailqueue.configure(…):",
        "",
        '  EMAIL_BACKEND = "mailqueue.backends.queue.EmailBackend"',
    ]
    if uses_embedded_server() and (environment or Path.cwd() / ".mailqueue" != home()):
        lines += ["", "and in the environment of programs that run elsewhere:", ""]
        lines += [f"  MAILQUEUE_HOME={home()}"]
    if django_settings() is not None:
        lines += ["", "The worker delivers by this Django project's EMAIL_HOST and EMAIL_PORT:", ""]
        lines += [f"  {settings.EMAIL_HOST}:{settings.EMAIL_PORT}"]
        lines += ["", "To deliver into the inbox instead, set", ""]
        lines += ['  EMAIL_HOST = "127.0.0.1"', f"  EMAIL_PORT = {inbox.port}"]
    lines += ["", "Watch it with `mailqueue status`, `mailqueue list`, `mailqueue show ID`."]
    return "\n".join(lines)


def _mail_settings(inbox: Inbox) -> dict[str, str]:
    """The worker delivers to the inbox, unless Django's settings say where to."""
    return {"EMAIL_HOST": "127.0.0.1", "EMAIL_PORT": str(inbox.port)}


@contextmanager
def _process(
    command: Sequence[str], environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
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


def _wait_until_ready(worker: subprocess.Popen[bytes], stop: Stop) -> bool:
    """Whether a worker looks after the queue; False when it is to stop before."""
    deadline = time.monotonic() + _READY_WITHIN
    journal = open_journal()
    while not stop.wait(0.1):
        _check_alive(worker)
        if journal.pulse(alive_within=2, overdue_by=60)[0]:
            return True
        if time.monotonic() > deadline:
            raise WorkerError(f"the worker was not ready within {_READY_WITHIN:.0f} s")
    return False


def _check_alive(worker: subprocess.Popen[bytes]) -> None:
    if worker.poll() is not None:
        raise WorkerError(f"the worker ended by itself, with exit status {worker.returncode}")


def run_worker(command: Sequence[str], stop: Stop) -> int:
    """Run a worker in the foreground until it ends or ``stop`` is set; return its exit status."""
    with _process(command, {}) as process:
        while process.poll() is None and not stop.wait(0.2):
            pass
        _stop(process)
    # One that is told to stop before it listens to that is ended by the signal, as asked for.
    return 0 if process.returncode == -signal.SIGTERM else process.returncode


def is_free(port: int) -> bool:
    """Whether nothing listens on that port of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


class Stop:
    """Whether a signal to stop has come, and the wait for one."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def wait(self, timeout: float | None = None) -> bool:
        """Whether one has come, waiting for that up to so many seconds."""
        return bool(select.select([self._descriptor], [], [], timeout)[0])


@contextmanager
def until_stopped() -> Iterator[Stop]:
    """While this lasts, SIGINT, SIGTERM and SIGHUP are waited for instead of ending the process.

    One that is ignored, as SIGHUP under ``nohup``, is ignored still; after the first that came all
    are, so that none disturbs what is left to do.
    """
    # Not a handler that sets an Event: the Event's lock may be held by the handler's own thread at
    # that moment, and Python doesn't call a handler for what comes just before the wait begins.
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    descriptor_before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    # SIGHUP is what a terminal sends when it is closed.
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    heard = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, lambda *_: None) for number in heard}
    stop = Stop(reader)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if stop.wait(0) else handler)
        signal.set_wakeup_fd(descriptor_before)
        os.close(reader)
        os.close(writer)
