"""Commands that look and change nothing."""

from __future__ import annotations

import sys

import click

from mailqueue.monitor import check as checking
from mailqueue.monitor import health, report, text
from mailqueue.state import State

from .group import as_json, main, print_data, server


@main.command()
@as_json
def status(as_json: bool) -> None:
    """How many messages are in each state, and who works on them."""
    with server():
        print_data(report.status(), text.status, as_json)


@main.command("list")
@click.option("--state", type=click.Choice([state.value for state in State]), default=None)
@click.option("--to", default=None, help="A part of a recipient's address.")
@click.option("--domain", default=None, help="A recipient's domain.")
@click.option("--limit", default=None, type=click.IntRange(1), help="The most messages to list.")
@as_json
def list_(
    state: str | None, to: str | None, domain: str | None, limit: int | None, as_json: bool
) -> None:
    """List messages, newest first within each state."""
    wanted = report.Filter(State(state) if state else None, to, domain)
    with server():
        print_data(report.find(wanted, limit), text.messages, as_json)


@main.command()
@click.argument("id_", metavar="ID")
@as_json
def show(id_: str, as_json: bool) -> None:
    """Show all that is known of one message."""
    with server():
        print_data(report.show(id_), text.message, as_json)


@main.command("health")
@click.option("--live", is_flag=True, help="Only whether a worker of this machine lives.")
@click.option("--worker", default=None, metavar="NAME", help="With --live: the one of that name.")
@as_json
def health_(live: bool, worker: str | None, as_json: bool) -> None:
    """Whether mail is moving: exit status 0, 1 if not, 2 if that can't be told.

    With --live it asks no server: exit status 0 if a worker lives, else 1.
    """
    if worker is not None and not live:
        raise click.UsageError("--worker NAME goes with --live")
    if live:
        found = health.live(worker)
        print_data(found, text.live, as_json)
        sys.exit(0 if found["ok"] else 1)
    found = health.health()
    print_data(found, text.health, as_json)
    sys.exit(health.EXIT_STATUS[found["verdict"]])


@main.command()
@click.option("--program", is_flag=True, help="For a machine that only sends: no mail server.")
@as_json
def check(program: bool, as_json: bool) -> None:
    """Whether settings, journal, broker and mail server are right; exit status 1 if not."""
    found = checking.check(server, program=program)
    print_data(found, text.check, as_json)
    sys.exit(0 if found["ok"] else 1)
