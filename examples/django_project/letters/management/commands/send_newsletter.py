"""`manage.py send_newsletter subscribers.txt`: text, HTML and an attachment to everybody."""

from pathlib import Path

from django.core.exceptions import ValidationError
from django.core.mail import get_connection
from django.core.management.base import BaseCommand, CommandError
from django.core.validators import validate_email

from ...mail import newsletter

PROGRAMME = Path(__file__).parents[2] / "files" / "programme.ics"


class Command(BaseCommand):
    help = "Sends the newsletter to the addresses in a file, one a line."

    def add_arguments(self, parser):
        parser.add_argument("subscribers", type=Path, help="file of addresses; # starts a comment")
        parser.add_argument("--subject", default="News from the letters")
        parser.add_argument("--attach", type=Path, default=PROGRAMME, help="file to attach")

    def handle(self, *, subscribers, subject, attach, **_options):
        try:
            messages = [newsletter(s, subject, attach) for s in read_addresses(subscribers)]
        except OSError as error:
            raise CommandError(str(error)) from error
        count = get_connection().send_messages(messages) if messages else 0
        self.stdout.write(f"{count} copies queued")


def read_addresses(path):
    """Read every address once; a line that is none stops it all before anything is sent."""
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        address = line.partition("#")[0].strip()
        if not address:
            continue
        try:
            validate_email(address)
        except ValidationError as error:
            raise CommandError(f"{path}, line {number}: {address!r} is no address") from error
        found.setdefault(address)
    return list(found)
