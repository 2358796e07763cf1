"""Messages of other packages through the queue, in a Django project: run as a program.

It reads what LEAVE_BEHIND says, and writes for each message what the journal keeps of it, as a
worker rebuilds it, or why it was refused.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="tests",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=[
        "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sites",
        "rest_framework", "djoser", "mail_templated", "mailqueue.contrib.django",
    ],
    SITE_ID=1,
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "DIRS": [Path(__file__).with_name("templates")],
            "APP_DIRS": True,
        }
    ],
    DJOSER={"ACTIVATION_URL": "activate/{uid}/{token}"},
    EMAIL_BACKEND="mailqueue.backends.queue.EmailBackend",
    MAILQUEUE={
        "BROKER_URL": sys.argv[1], "JOURNAL_URL": sys.argv[1], "ENQUEUE_TIMEOUT": "30s",
        "LEAVE_BEHIND": json.loads(sys.argv[2]),
    },
)  # fmt: skip
warnings.simplefilter("ignore")
django.setup()

from django.contrib.auth import get_user_model  # noqa: E402 - after the settings
from django.core.management import call_command  # noqa: E402
from django.test import RequestFactory  # noqa: E402
from djoser.email import ActivationEmail  # noqa: E402
from mail_templated import EmailMessage as TemplatedMessage  # noqa: E402

from mailqueue.errors import PayloadError  # noqa: E402
from mailqueue.queue import payload  # noqa: E402
from mailqueue.queue.journal.opening import open_journal  # noqa: E402


def by_djoser(user: Any) -> Any:
    """The message that djoser sends to who has registered."""
    request = RequestFactory().post("/users/")
    request.user = user
    message = ActivationEmail(request, {"user": user})
    message.send([user.email])
    return message


def by_mail_templated(user: Any) -> Any:
    """A message of django-mail-templated."""
    message = TemplatedMessage("welcome.tpl", {"user": user}, "me@example.com", [user.email])
    message.send()
    return message


def kept(send: Any, user: Any) -> Any:
    """What a worker makes of the message, or the error."""
    try:
        message = send(user)
    except PayloadError as error:
        return str(error)
    text = open_journal().payload(message.mailqueue_id)
    again = payload.loads(text)
    return {
        "class": type(again).__name__,
        "subject": again.subject,
        "recipients": again.recipients(),
        "parts": [part.get_content_type() for part in again.message().walk()],
        "is_same": (again.body, list(map(tuple, again.alternatives)))
        == (message.body, list(map(tuple, message.alternatives))),
        "attributes": sorted(json.loads(text).get("attributes", {})),
    }


def main() -> None:
    """Send one of each."""
    call_command("migrate", verbosity=0)
    user = get_user_model().objects.create_user("ann", "ann@example.com")
    found = {send.__name__: kept(send, user) for send in (by_djoser, by_mail_templated)}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
