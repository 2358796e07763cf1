"""Everything in one foreground command: embedded server, worker, catch-all inbox."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from mailqueue.conf import settings
from mailqueue.conf.lookup import django_settings, home
from mailqueue.conf.server import broker_url, redact_all, uses_embedded_server
from mailqueue.queue.journal import open_journal

from .embedded import EmbeddedServer
from .inbox import Inbox
from .process import WorkerError, check_alive, process_with_lifeline, worker_command
from .stop import Stop, until_stopped

_READY_WITHIN = 30.0  # seconds
_DOOR = 'EMAIL_BACKEND = "mailqueue.backends.queue.EmailBackend"'
_DOOR_OF_MAILERS = '"BACKEND": "mailqueue.backends.queue.EmailBackend"  # in MAILERS["default"]'


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
        worker = stack.enter_context(process_with_lifeline(command, _mail_settings(inbox)))
        if _wait_until_ready(worker, stop):
            say(introduction(inbox.port))
        while not stop.wait(0.5):
            check_alive(worker)
            if server is not None and server.revive():
                say("the embedded server had ended; it runs again")
        say("stopping: the worker finishes the message in hand")


def introduction(port: int) -> str:
    """What to put into one's settings to send through what is running here; ``port``: the inbox."""
    environment = os.environ.get("MAILQUEUE_HOME")
    lines = [
        "mailqueue is up. Ctrl-C stops it; what is queued stays queued.",
        "",
        f"  broker   {redact_all(broker_url())}",
        f"  inbox    127.0.0.1:{port}, keeps what it gets in {home() / 'Maildir'}",
        "",
        "Send through it, in Django's settings or by mailqueue.configure(…):",
        "",
        f"  {_DOOR_OF_MAILERS if settings.MAILERS else _DOOR}",
    ]
    if uses_embedded_server() and (environment or Path.cwd() / ".mailqueue" != home()):
        lines += ["", "and in the environment of programs that run elsewhere:", ""]
        lines += [f"  MAILQUEUE_HOME={home()}"]
    if django_settings() is not None:
        lines += [
            "",
            "The worker delivers by this Django project's settings. For the inbox these are",
        ]
        lines += ["", *_way_to_inbox(port), ""]
        lines += [
            "It has them as EMAIL_HOST and EMAIL_PORT in its environment, for who reads that."
        ]
    lines += ["", "Watch it with `mailqueue status`, `mailqueue list`, `mailqueue show ID`."]
    return "\n".join(lines)


def _way_to_inbox(port: int) -> list[str]:
    """The settings of a Django project that delivers there."""
    if settings.MAILERS:
        alias = settings.MAILQUEUE.USING
        of_mailer = f"  # in MAILERS[{alias!r}]" if alias else ""
        return [f'  "OPTIONS": {{"host": "127.0.0.1", "port": {port}}}{of_mailer}']
    return ['  EMAIL_HOST = "127.0.0.1"', f"  EMAIL_PORT = {port}"]


def _mail_settings(inbox: Inbox) -> dict[str, str]:
    """The worker delivers to the inbox, unless Django's settings say where to."""
    return {"EMAIL_HOST": "127.0.0.1", "EMAIL_PORT": str(inbox.port)}


def _wait_until_ready(worker: subprocess.Popen[bytes], stop: Stop) -> bool:
    """Whether a worker looks after the queue; False when it is to stop before."""
    deadline = time.monotonic() + _READY_WITHIN
    journal = open_journal()
    while not stop.wait(0.1):
        check_alive(worker)
        if journal.pulse(alive_within=2).beats:
            return True
        if time.monotonic() > deadline:
            raise WorkerError(f"the worker was not ready within {_READY_WITHIN:.0f} s")
    return False


def is_free(port: int) -> bool:
    """Whether nothing listens on that port of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
