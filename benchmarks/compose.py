"""What composing and flattening a message costs, beside Django's.

Run it with `python -m benchmarks.compose`, in an environment that has Django.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from email import policy
from typing import Any

import django
from django.conf import settings
from django.core import mail as django_mail

import mailqueue
from benchmarks.measure import interleaved, show
from benchmarks.messages import text_and_html, with_attachment

# Short turns and many: the two are within a few per cent of each other.
ROUNDS = 61


def rendered(mail: Any, compose: Callable[[Any], Any]) -> Callable[[], object]:
    """Compose and flatten, as an SMTP backend does."""
    if mail is mailqueue or django.VERSION >= (6, 0):
        return lambda: compose(mail).message(policy=policy.SMTP).as_bytes()
    return lambda: compose(mail).message().as_bytes(linesep="\r\n")


def main() -> None:
    """Measure both messages with both libraries."""
    settings.configure()
    name = f"Django {django.get_version()}"
    python = ".".join(map(str, sys.version_info[:3]))
    for title, compose, repeat in [
        ("Text + HTML, 4 kB", text_and_html, 20),
        ("Attachment of 1 MiB", with_attachment, 1),
    ]:
        ways = {"mailqueue": rendered(mailqueue, compose), name: rendered(django_mail, compose)}
        show(
            f"{title}, compose and flatten, Python {python}",
            interleaved(ways, repeat, ROUNDS),
            name,
        )


if __name__ == "__main__":
    main()
