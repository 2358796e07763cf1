"""The command line: `mailqueue …`, also `python -m mailqueue`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
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
from .monitor import check as checking
from .monitor import control, report, text
from .notation import parse_duration
from .urls import uses_embedded_server

_PORT_OF_INBOX = 8025
_PORT = click.IntRange(0, 65535)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
without_asking = click.option("--yes", is_flag=True, help="Don't ask for confirmation.")


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
    with suppress(FileNotFoundError):  # it is gone
        sys.path.insert(0, os.getcwd())  # noqa: PTH109 - sys.path holds strings
    if click.get_current_context().invoked_subcommand != "check":  # it shows what is wrong itself
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
        with everything.until_stopped() as stop, serving(home()):
            status = everything.run_worker(command, stop)
        sys.exit(status)
    os.execv(command[0], command)  # noqa: S606 - our own interpreter, our own arguments


@main.command()
@click.option(
    "--port", default=_PORT_OF_INBOX, type=_PORT, show_default=True, help="0 for a free one."
)
def inbox(port: int) -> None:
    """Run the catch-all inbox alone until Ctrl-C."""
    with everything.until_stopped() as stop, Inbox(home() / "Maildir", port=port) as running:
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
        missed = [report.why_not_retried(id_) for id_ in sorted(set(ids) - set(done))]
    _print({"retried": done}, lambda found: f"{len(found['retried'])} queued again", as_json)
    if missed:
        raise click.ClickException("not queued again: " + "\n       ".join(missed))


@main.command()
@as_json
def health(as_json: bool) -> None:
    """Whether mail is moving; exit status 1 if not."""
    found = report.health()
    _print(found, text.health, as_json)
    sys.exit(0 if found["ok"] else 1)


@main.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "all_", is_flag=True, help="All that wait.")
@click.option("--domain", default=None, help="All that wait with a recipient of that domain.")
@as_json
def hold(ids: Sequence[str], all_: bool, domain: str | None, as_json: bool) -> None:
    """Keep messages that wait from being sent until `mailqueue resume`."""
    _operate(control.HOLD, _Choice(ids, all_, domain), as_json)


@main.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "all_", is_flag=True, help="All that are held.")
@click.option("--domain", default=None, help="All held ones with a recipient of that domain.")
@click.option("--mailer", default=None, help="Use that mailer at once, which workers leave alone.")
@as_json
def resume(
    ids: Sequence[str], all_: bool, domain: str | None, mailer: str | None, as_json: bool
) -> None:
    """Queue messages that are held, or end the pause of a mailer."""
    if mailer is None:
        _operate(control.RESUME, _Choice(ids, all_, domain), as_json)
        return
    if ids or all_ or domain is not None:
        raise click.UsageError("--mailer is about no message: give it alone")
    with _server():
        control.resume_mailer(mailer)
    _print({"resumed_mailer": mailer}, lambda _: f"mailer {mailer} is used again", as_json)


@main.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "all_", is_flag=True, help="All that wait or are held.")
@click.option("--domain", default=None, help="Those of them with a recipient of that domain.")
@without_asking
@as_json
def cancel(ids: Sequence[str], all_: bool, domain: str | None, yes: bool, as_json: bool) -> None:
    """End messages that wait or are held: they are not sent (again), and their content goes."""
    _operate(control.CANCEL, _Choice(ids, all_, domain), as_json, None if yes else "Cancel")


@main.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "all_", is_flag=True, help="All that are failed, partial or expired.")
@click.option("--domain", default=None, help="Those of them with a recipient of that domain.")
@without_asking
@as_json
def discard(ids: Sequence[str], all_: bool, domain: str | None, yes: bool, as_json: bool) -> None:
    """Remove failed, partial or expired messages for good; by id, held and uncertain ones too."""
    _operate(control.DISCARD, _Choice(ids, all_, domain), as_json, None if yes else "Discard")


@main.command()
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([state.value for state in control.FINAL]),
    help="Only records in that state; may be repeated.",
)
@click.option("--older-than", default=None, help="Only those in it for that long, such as 7d.")
@click.option("--all", "all_", is_flag=True, help="Every record of a message that has ended.")
@without_asking
@as_json
def purge(
    states: Sequence[str], older_than: str | None, all_: bool, yes: bool, as_json: bool
) -> None:
    """Remove records of messages that have ended, now instead of after KEEP_SENT or KEEP_FAILED."""
    if all_ == bool(states or older_than):
        raise click.UsageError("give either --state, --older-than or both, or --all")
    age = _age(older_than)
    chosen = [State(state) for state in states] or list(control.FINAL)
    if not (yes or older_than):
        names = ", ".join(state.value for state in chosen)
        click.confirm(f"Remove all records of messages that are {names}?", abort=True, err=True)
    with _server():
        _print(control.purge(chosen, age), text.purged, as_json)


@main.command()
@as_json
def check(as_json: bool) -> None:
    """Whether settings, journal, broker and mail server are right; exit status 1 if not."""
    found = checking.check(_server)
    _print(found, text.check, as_json)
    sys.exit(0 if found["ok"] else 1)


@main.group()
def spool() -> None:
    """Messages and results that this machine keeps while the journal is away."""


@spool.command()
@as_json
def flush(as_json: bool) -> None:
    """Hand what is spooled to the journal, as workers do; exit status 1 if something stays."""
    with _server():
        found = report.flush_spool()
    _print(found, text.flushed, as_json)
    sys.exit(1 if found["remaining"] or found["damaged"] else 0)


@dataclass(frozen=True)
class _Choice:
    """Which messages a command is for: those ids, or all, or all with a domain."""

    ids: Sequence[str]
    all_: bool
    domain: str | None

    def __post_init__(self) -> None:
        if bool(self.ids) + self.all_ + (self.domain is not None) != 1:
            raise click.UsageError("give either ids, or --all, or --domain")


def _operate(
    action: control.Action, choice: _Choice, as_json: bool, asking: str | None = None
) -> None:
    """Do it and say what was done; ``asking`` confirms what was not chosen one by one."""
    with _server():
        ids = choice.ids or control.matching(action, choice.domain)
        if asking and ids and not choice.ids:
            click.confirm(f"{asking} {len(ids)} messages?", abort=True, err=True)
        found = control.change(action, ids)
    _print(found, lambda shown: f"{len(shown[action.done])} {action.done}", as_json)
    refused = found["refused"] if choice.ids else []  # of the others, some moved on meanwhile
    if refused:
        reasons = (f"{one['id']} ({one['state'] or 'no such message'})" for one in refused)
        raise click.ClickException(f"not {action.done}: {', '.join(reasons)}")


def _age(text: str | None) -> float:
    try:
        return parse_duration(text or 0)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} {error}", param_hint="--older-than") from None


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
