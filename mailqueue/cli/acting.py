"""Commands that do something to messages."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import click

from mailqueue.conf.parse import parse_duration
from mailqueue.mail.message import EmailMessage
from mailqueue.mail.routing import get_connection
from mailqueue.monitor import control, report, text
from mailqueue.state import FINAL, State

from .group import as_json, main, print_data, server, without_asking


@main.command()
@click.option("--to", required=True, multiple=True, help="Recipient; may be repeated.")
@click.option("--subject", default="A message from mailqueue", show_default=True)
@click.option("--from", "sender", default=None, help="Sender; default: DEFAULT_FROM_EMAIL.")
@click.option("--body", default="It works.", show_default=True)
@as_json
def send(to: Sequence[str], subject: str, sender: str | None, body: str, as_json: bool) -> None:
    """Queue a message, to try things out, and print its id."""
    connection = get_connection("mailqueue.backends.queue.EmailBackend")
    message = EmailMessage(subject, body, sender, list(to), connection=connection)
    with server():
        message.send()
    print_data({"id": message.mailqueue_id}, lambda found: f"queued as {found['id']}", as_json)


@main.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "all_", is_flag=True, help="All that failed, wholly or in part.")
@click.option("--domain", default=None, help="All that failed with a recipient of that domain.")
@as_json
def retry(ids: Sequence[str], all_: bool, domain: str | None, as_json: bool) -> None:
    """Queue messages again that failed, or that wait for their next try."""
    if bool(ids) + all_ + (domain is not None) != 1:
        raise click.UsageError("give either ids, or --all, or --domain")
    with server():
        done = control.retry(ids) if ids else control.retry_matching(report.Filter(domain=domain))
        missed = [control.why_not_retried(id_) for id_ in sorted(set(ids) - set(done))]
    print_data({"retried": done}, lambda found: f"{len(found['retried'])} queued again", as_json)
    if missed:
        raise click.ClickException("not queued again: " + "\n       ".join(missed))


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
    with server():
        control.resume_mailer(mailer)
    print_data({"resumed_mailer": mailer}, lambda _: f"mailer {mailer} is used again", as_json)


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
    type=click.Choice([state.value for state in FINAL]),
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
    chosen = [State(state) for state in states] or list(FINAL)
    if not (yes or older_than):
        names = ", ".join(state.value for state in chosen)
        click.confirm(f"Remove all records of messages that are {names}?", abort=True, err=True)
    with server():
        print_data(control.purge(chosen, age), text.purge, as_json)


@main.group()
def spool() -> None:
    """Messages and results that this machine keeps while the journal is away."""


@spool.command()
@as_json
def flush(as_json: bool) -> None:
    """Hand what is spooled to the journal, as workers do; exit status 1 if something stays."""
    with server():
        found = control.flush_spool()
    print_data(found, text.flush, as_json)
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
    with server():
        ids = choice.ids or control.matching(action, choice.domain)
        if asking and ids and not choice.ids:
            click.confirm(f"{asking} {len(ids)} messages?", abort=True, err=True)
        found = control.change(action, ids)
    print_data(found, lambda shown: f"{len(shown[action.done])} {action.done}", as_json)
    refused = found["refused"] if choice.ids else []  # of the others, some moved on meanwhile
    if refused:
        reasons = (f"{one['id']} ({one['state'] or 'no such message'})" for one in refused)
        raise click.ClickException(f"not {action.done}: {', '.join(reasons)}")


def _age(text: str | None) -> float:
    try:
        return parse_duration(text or 0)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} {error}", param_hint="--older-than") from None
