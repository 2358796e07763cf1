"""The command line's group, and what its commands share."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click

from mailqueue.conf import settings
from mailqueue.conf.lookup import home
from mailqueue.conf.server import uses_embedded_server
from mailqueue.errors import MailqueueError
from mailqueue.local.embedded import serving

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
    # These two show themselves what is wrong.
    if click.get_current_context().invoked_subcommand not in ("check", "health"):
        settings.check()


@contextmanager
def server() -> Iterator[None]:
    """The embedded server for as long as a command takes, where one is used and none is running."""
    if not uses_embedded_server():
        yield
        return
    with serving(home()):
        yield


def print_data(found: Any, as_text: Callable[[Any], str], as_json: bool) -> None:
    """Print what was found, as JSON or as ``as_text`` has it."""
    text = json.dumps(found, indent=2, ensure_ascii=False) if as_json else as_text(found)
    # Half a character, as in a subject of broken mail, has no UTF-8; JSON escapes it the same way.
    click.echo(text.encode("utf-8", "backslashreplace").decode())
