"""The command line: `mailqueue …`, also `python -m mailqueue`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from . import up as everything
from .api import send_mail
from .conf import home, settings
from .embedded import serving
from .errors import MailqueueError
from .inbox import Inbox
from .journal import State
from .mailers import get_connection
from .monitor import report, text
from .urls import uses_embedded_server

_PORT_OF_INBOX = 8025
_PORT = click.IntRange(0, 65535)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class _Main(click.Group):
    """Shows our errors as one line and exits with 1."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except MailqueueError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Main)
@click.version_option(package_name="mailqueue")
def main() -> None:
    """Django's mail API for any Python program, delivered in the background by Celery."""
    # Like `python manage.py`: the project that stands in the working directory can be imported.
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - sys.path holds strings
    settings.check()


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
    everything.run(_chosen(app), _inbox_port(inbox_port), options, click.echo)


@main.command(context_settings={"ignore_unknown_options": True})
@click.option("--app", "-A", default=None, help="Celery application; default: mailqueue's own.")
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def worker(app: str | None, options: Sequence[str]) -> None:
    """Run a Celery worker. OPTIONS are those of `celery worker`, such as --concurrency 4."""
    command = everything.worker_command(_chosen(app), options)
    if uses_embedded_server():
        with serving(home()):
            sys.exit(everything.run_worker(command))
    os.execv(command[0], command)  # noqa: S606 - our own interpreter, our own arguments


@main.command()
@click.option(
    "--port", default=_PORT_OF_INBOX, type=_PORT, show_default=True, help="0 for a free one."
)
def inbox(port: int) -> None:
    """Run the catch-all inbox alone until Ctrl-C."""
    with Inbox(home() / "Maildir", port=port) as running, everything.until_stopped() as stop:
        click.echo(f"inbox at 127.0.0.1:{running.port}, keeps what it gets in {home() / 'Maildir'}")
        stop.wait()


@main.command()
@click.option("--to", required=True, multiple=True, help="Recipient; may be repeated.")
@click.option("--subject", default="A message from mailqueue", show_default=True)
@click.option("--from", "sender", default=None, help="Sender; default: DEFAULT_FROM_EMAIL.")
@click.option("--body", default="It works.", show_default=True)
def send(to: Sequence[str], subject: str, sender: str | None, body: str) -> None:
    """Queue a message, to try things out."""
    connection = get_connection("mailqueue.backends.queue.EmailBackend")
    with _server():
        send_mail(subject, body, sender, list(to), connection=connection)
    click.echo("queued")


@main.command()
@as_json
def status(as_json: bool) -> None:
    """How many messages are in each state, and who works on them."""
    with _server():
        _print(report.status(), text.status, as_json)


@main.command("list")
@click.option("--state", type=click.Choice([state.value for state in State]), default=None)
@click.option("--to", default=None, help="A part of a recipient's address.")
@click.option("--domain", default=None, help="A recipient's domain.")
@click.option("--limit", default=None, type=click.IntRange(1), help="At most so many messages.")
@as_json
def list_(
    state: str | None, to: str | None, domain: str | None, limit: int | None, as_json: bool
) -> None:
    """List messages, newest first within each state."""
    wanted = report.Filter(State(state) if state else None, to, domain)
    with _server():
        _print(report.find(wanted, limit), text.messages, as_json)


@main.command()
@click.argument("id_", metavar="ID")
@as_json
def show(id_: str, as_json: bool) -> None:
    """Show all that is known of one message."""
    with _server():
        _print(report.show(id_), text.message, as_json)


@main.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "all_", is_flag=True, help="All that failed, wholly or in part.")
@click.option("--domain", default=None, help="All that failed with a recipient of that domain.")
@as_json
def retry(ids: Sequence[str], all_: bool, domain: str | None, as_json: bool) -> None:
    """Queue messages again that failed, or that wait for their next try."""
    if bool(ids) + all_ + (domain is not None) != 1:
        raise click.UsageError("give either ids, or --all, or --domain")
    with _server():
        done = report.retry(ids) if ids else report.retry_matching(report.Filter(domain=domain))
    _print({"retried": done}, lambda found: f"{len(found['retried'])} queued again", as_json)
    missed = sorted(set(ids) - set(done))
    if missed:
        raise click.ClickException(
            f"not queued again: {', '.join(missed)}: no such message, or not in a state for it"
        )


@main.command()
@as_json
def health(as_json: bool) -> None:
    """Whether mail is moving; exit status 1 if not."""
    found = report.health()
    _print(found, text.health, as_json)
    sys.exit(0 if found["ok"] else 1)


def _chosen(app: str | None) -> str:
    return app or settings.MAILQUEUE.CELERY_APP or everything.DEFAULT_APP


def _inbox_port(chosen: int | None) -> int:
    """The port asked for, else the usual one, else (when that is taken) any."""
    if chosen is not None:
        return chosen
    return _PORT_OF_INBOX if everything.is_free(_PORT_OF_INBOX) else 0


@contextmanager
def _server() -> Iterator[None]:
    """The embedded server for as long as a command takes, where one is used and none is running."""
    if not uses_embedded_server():
        yield
        return
    with serving(home()):
        yield


def _print(found: Any, as_text: Callable[[Any], str], as_json: bool) -> None:
    click.echo(json.dumps(found, indent=2, ensure_ascii=False) if as_json else as_text(found))
