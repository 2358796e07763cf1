"""Commands that run something in the foreground."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec

import click

from mailqueue.conf import settings
from mailqueue.conf.lookup import home
from mailqueue.conf.server import uses_embedded_server
from mailqueue.local.embedded import serving
from mailqueue.local.inbox import Inbox
from mailqueue.local.process import DEFAULT_APP, run_worker, worker_command
from mailqueue.local.stop import until_stopped
from mailqueue.local.up import is_free, run

from .group import main

_PORT_OF_INBOX = 8025
_PORT = click.IntRange(0, 65535)


@main.command()
@click.option("--app", "-A", default=None, help="Celery application; default: mailqueue's own.")
@click.option("--inbox-port", default=None, type=_PORT, help="Port of the inbox; 0 for a free one.")
@click.option("--concurrency", "-c", default=1, show_default=True, help="Worker processes.")
@click.option("--loglevel", "-l", default="INFO", show_default=True)
def up(app: str | None, inbox_port: int | None, concurrency: int, loglevel: str) -> None:
    """Run embedded server, worker and catch-all inbox until Ctrl-C."""
    options = [
        "--concurrency",
        str(concurrency),
        "--loglevel",
        loglevel,
        "--without-gossip",
        "--without-mingle",
    ]
    run(_choose_app(app), _inbox_port(inbox_port), options, click.echo)


@main.command(context_settings={"ignore_unknown_options": True})
@click.option("--app", "-A", default=None, help="Celery application; default: mailqueue's own.")
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def worker(app: str | None, options: Sequence[str]) -> None:
    """Run a Celery worker. OPTIONS are those of `celery worker`, such as --concurrency 4."""
    _check_pool(options)
    command = worker_command(_choose_app(app), options)
    if uses_embedded_server():
        with until_stopped() as stop, serving(home()):
            status = run_worker(command, stop)
        sys.exit(status)
    os.execv(command[0], command)  # noqa: S606 - our own interpreter, our own arguments


@main.command()
@click.option(
    "--port", default=_PORT_OF_INBOX, type=_PORT, show_default=True, help="0 for a free one."
)
def inbox(port: int) -> None:
    """Run the catch-all inbox alone until Ctrl-C."""
    with until_stopped() as stop, Inbox(home() / "Maildir", port=port) as running:
        click.echo(f"inbox at 127.0.0.1:{running.port}, keeps what it gets in {home() / 'Maildir'}")
        stop.wait()


def _check_pool(options: Sequence[str]) -> None:
    chosen = {option.removeprefix("--pool=") for option in options}
    if "gevent" in chosen and find_spec("gevent") is None:
        raise click.ClickException("the pool gevent needs its package: pip install gevent")


def _choose_app(app: str | None) -> str:
    return app or settings.MAILQUEUE.CELERY_APP or DEFAULT_APP


def _inbox_port(chosen: int | None) -> int:
    """The port asked for, else the usual one, else (when that is taken) any."""
    if chosen is not None:
        return chosen
    return _PORT_OF_INBOX if is_free(_PORT_OF_INBOX) else 0
