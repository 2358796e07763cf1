"""The worker of a peer that has none: its management command, run when the benchmark says so.

A program of its own, `python -m benchmarks.command`, in the peers' environment. Django is loaded
and the tables are there before it is asked; from cron, the command would take a second more, and
start once a minute.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from django.core.management import call_command

from benchmarks.process import answer_requests
from benchmarks.project import HOME, PEER

COMMANDS: dict[str, tuple[str, dict[str, Any]]] = {
    "django-post_office": ("send_queued_mail", {"lockfile": str(HOME / "post_office")}),
    "django-mailer": ("send_mail", {}),
}


def run() -> dict[str, Any]:
    """Send all that is queued."""
    name, options = COMMANDS[PEER]
    call_command(name, stdout=sys.stderr, **options)
    return {}


def main() -> None:
    """Make the tables, then run the command whenever asked."""
    logging.disable(logging.INFO)
    call_command("migrate", verbosity=0)
    answer_requests({"run": run})


if __name__ == "__main__":
    main()
