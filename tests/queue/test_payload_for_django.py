"""A payload becomes a message of its producer's family, where that is to be had."""

from __future__ import annotations

import json
import sys
from email import message_from_bytes
from typing import Any

import pytest

from mailqueue import EmailMessage, EmailMultiAlternatives
from mailqueue.errors import PayloadError
from mailqueue.mail.rendering.render import rendered_bytes
from mailqueue.queue import payload
from tests.support import in_django

REBUILT = """
from mailqueue.queue import payload
message = payload.loads({text!r})
types = [part.get_content_type() for part in message.message().walk()]
homes = [type(given).__module__ for given in (message, *message.alternatives)]
result = [homes, types]
"""


def fields(**changes: Any) -> str:
    message = EmailMultiAlternatives("s", "text", "me@example.com", ["you@example.com"])
    message.attach_alternative("<p>HTML</p>", "text/html")
    message.attach("a.txt", "attached")
    found = payload.parse(payload.dumps(message, "an-id"))
    return json.dumps(found | changes)


@pytest.mark.parametrize(
    ("changes", "home"),
    [
        ({}, "mailqueue.mail.message"),
        ({"family": "django 4.2"}, "django.core.mail.message"),
        ({"mixed_subtype": "related"}, "mailqueue.mail.message"),
    ],
    ids=["ours", "Django's", "another multipart"],
)
def test_the_family_stays_what_it_was(changes: dict[str, Any], home: str) -> None:
    """Ours in a process with Django too, whatever that Django refuses; Django's where it is."""
    homes, types = in_django({}, REBUILT.format(text=fields(**changes)))
    assert homes == [home, home]
    kinds = ["multipart/mixed", "multipart/alternative", "text/plain", "text/html"]
    kinds[0] = f"multipart/{changes.get('mixed_subtype', 'mixed')}"
    assert types[:4] == kinds


def test_a_payload_of_before_is_rebuilt_as_it_was_then() -> None:
    """Django's class where Django is configured, as far as it builds such a message."""
    found = json.loads(fields())
    del found["family"]
    homes, _ = in_django({}, REBUILT.format(text=json.dumps(found)))
    assert homes[0] == "django.core.mail.message"
    assert type(payload.loads(json.dumps(found))) is EmailMultiAlternatives


def test_without_django_its_messages_are_ours() -> None:
    """They say the same; test_pairs.py compares what is delivered."""
    assert type(payload.loads(fields(family="django 5.2"))) is EmailMultiAlternatives


ONLY_DJANGOS = """
from django.core.mail import EmailMessage
from mailqueue.queue import payload
changes = [
    {"headers": {"Date": "never"}},
    {"headers": {"X A": "a"}},
    {"attachments": [("a\\0b.pdf", b"%PDF", "application/pdf")]},
    {"attachments": [("a\\u2028b.txt", "text", "text/plain")]},
]
made = [EmailMessage("s", "b", "me@example.com", ["you@example.com"], **each) for each in changes]
result = [payload.dumps(message, "an-id") for message in made]
"""


def test_what_only_djangos_classes_build_travels_as_they_built_it() -> None:
    """A worker without Django, whose classes refuse it, writes it as well."""
    for text in in_django({}, ONLY_DJANGOS):
        message = payload.loads(text)
        assert isinstance(message, EmailMessage)
        for seven_bit in (False, True):
            data = rendered_bytes(message, "an-id", seven_bit=seven_bit)
            assert message_from_bytes(data)["To"] == "you@example.com"


def test_a_family_that_nobody_knows_is_refused() -> None:
    """A later version may have more of them."""
    code = f"""
from mailqueue.errors import PayloadError
from mailqueue.queue import payload
try:
    payload.loads({fields(family="flask")!r})
except PayloadError as error:
    result = str(error)
"""
    assert in_django({}, code) == "the payload is of the unknown family 'flask'"


class Reminder(EmailMultiAlternatives):
    """A class of ours that names itself, and attaches in its own way."""

    mailqueue_class = f"{__name__}.Reminder"

    def attach_alternative(self, content: Any, mimetype: str) -> None:
        super().attach_alternative(f"{content}<!-- attached -->", mimetype)


def test_a_named_class_of_ours_is_rebuilt_where_django_is_too() -> None:
    """It is a subclass of ours, which Django's class in that process doesn't change."""
    message = Reminder("s", "text", "me@example.com", ["you@example.com"])
    message.attach_alternative("<p>", "text/html")
    text = payload.dumps(message, "an-id")
    (home, _), _ = in_django({}, REBUILT.format(text=text))
    assert home == __name__
    again = payload.loads(text)
    assert [tuple(given) for given in again.alternatives] == [("<p><!-- attached -->", "text/html")]


class Listing(EmailMessage):
    """A class without alternatives, on which somebody has hung some."""


def test_alternatives_of_a_class_without_them_are_an_attribute() -> None:
    """Its message() knows nothing of them, and Anymail reads them nevertheless."""
    message = Listing("s", "text", "me@example.com", ["you@example.com"])
    message.alternatives = [("<p>", "text/html")]  # type: ignore[attr-defined]
    again = payload.loads(payload.dumps(message, "an-id"))
    assert type(again) is EmailMessage
    assert again.alternatives == [("<p>", "text/html")]  # type: ignore[attr-defined]
    assert again.message().get_content_type() == "text/plain"


def test_a_class_that_a_worker_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads the error knows what to install, or to leave unnamed."""
    text = payload.dumps(Reminder("s", "text", "me@example.com", ["you@example.com"]), "an-id")
    monkeypatch.delattr(sys.modules[__name__], "Reminder")
    with pytest.raises(PayloadError, match=rf"there is no message class at '{__name__}.Reminder'"):
        payload.loads(text)
