"""What the queue fixes for a message stays apart from it, and is in whatever is written as MIME."""

from __future__ import annotations

import json
import pickle
from decimal import Decimal
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import idna
import pytest

from mailqueue import EmailMessage
from mailqueue.delivery.envelope import Outgoing, render
from mailqueue.errors import BadHeaderError, PayloadError
from mailqueue.mail.rendering.completion import complete
from mailqueue.mail.rendering.render import built_bytes, rendered_bytes
from mailqueue.queue import payload
from mailqueue.queue.handover import for_backend
from tests.support import in_django

PAYLOADS = Path(__file__).parents[1] / "contracts" / "payloads"


def letter(**changes: Any) -> EmailMessage:
    message = EmailMessage("Hello", "A letter", "me@example.com", ["you@example.com"])
    vars(message).update(changes)
    return message


def through(message: EmailMessage) -> Any:
    return payload.loads(payload.dumps(message, "id"))


def written(message: Any) -> Any:
    return message_from_bytes(rendered_bytes(message, "id"), policy=default)


class ServiceBackend:
    """As Anymail's backends say which service they are for."""

    esp_name = "Some Service"


def test_extra_headers_come_out_as_the_application_set_them():
    """A header more is an error with some mail services, and one Message-ID for all with others."""
    headers = {"X-Order": "4711", "List-Id": "<news.example.com>"}
    assert through(letter(extra_headers=headers)).extra_headers == headers
    assert through(letter()).extra_headers == {}


def test_each_attempt_writes_the_same_message_id_and_date():
    """With the quick way of writing and with message(), and for a backend that calls that."""
    message = through(letter())
    one, other, third = written(message), written(message), complete(message).message()
    assert one["Message-ID"] == other["Message-ID"] == third["Message-ID"]
    assert one["Date"] == other["Date"] == third["Date"]
    assert rendered_bytes(message, "id") == built_bytes(complete(message), "id")


@pytest.mark.parametrize("name", ["message-id", "MESSAGE-ID", "Message-ID"])
def test_what_the_application_set_itself_is_not_set_again(name):
    """However it spells the name."""
    message = written(through(letter(extra_headers={name: "<own@example.com>"})))
    assert message.get_all("Message-ID") == ["<own@example.com>"]
    assert len(message.get_all("Date")) == 1


def test_a_mail_service_is_told_what_was_set_and_other_backends_are_told_all():
    """None is the template's for Anymail; who writes MIME has the default instead."""
    message = through(letter(from_email=None, subject=None))
    assert for_backend(message, ServiceBackend()) is message
    assert (message.from_email, message.subject, message.extra_headers) == (None, None, {})
    told = for_backend(message, object())
    assert (told.from_email, told.subject) == ("webmaster@localhost", "")
    assert told.extra_headers.keys() == {"Message-ID", "Date"}
    assert message.extra_headers == {}


def test_a_body_of_none_beside_a_template_is_empty():
    """Django's class can't be built so, and the message was refused though Anymail takes it."""
    code = (
        "from django.core.mail import EmailMessage\n"
        "from mailqueue.queue import payload\n"
        "message = EmailMessage(to=['you@example.com'])\n"
        "message.subject = message.from_email = message.body = None\n"
        "again = payload.loads(payload.dumps(message, 'id'))\n"
        "result = [again.subject, again.from_email, again.body]"
    )
    assert in_django({}, code) == [None, None, ""]


def test_what_a_backend_is_handed_can_be_pickled_and_queued_again():
    """Its Message-ID stays what it was, since it is the same message."""
    message = complete(through(letter()))
    again = through(pickle.loads(pickle.dumps(message)))
    assert written(again)["Message-ID"] == message.extra_headers["Message-ID"]


def test_a_sender_of_none_is_the_default_of_the_program_that_sent():
    """Which is what operators see, and what a server hears."""
    message = letter(from_email=None, subject=None)
    assert payload.summary(message, message.to)["from"] == "webmaster@localhost"
    envelope = render(Outgoing("id", through(message), ("you@example.com",)))
    assert envelope.sender == "webmaster@localhost"
    assert b"From: webmaster@localhost\r\n" in envelope.data
    assert b"None" not in envelope.data


SEVERAL = [
    ("a@example.com, b@example.com", "a@example.com"),
    ('"Doe, Ann" <a@example.com>, Bob <b@example.com>', "a@example.com"),
    ("Zo\u00eb <z@example.com>, b@example.com", "z@example.com"),
]


@pytest.mark.parametrize(("given", "first"), SEVERAL)
def test_the_first_of_several_senders_stands_for_them(given, first):
    """It is the envelope's sender, and in Sender (RFC 5322, 3.6.2); all of them are in From."""
    message = through(letter(from_email=given))
    assert message.from_email == given
    envelope = render(Outgoing("id", message, ("you@example.com",)))
    parsed = message_from_bytes(envelope.data, policy=default)
    assert envelope.sender == first
    assert len(parsed["From"].addresses) == 2
    assert parsed["Sender"].address == parsed["From"].addresses[0]
    assert parsed["Sender"].address.addr_spec == first


def test_a_sender_that_the_application_names_is_kept():
    """Its own Sender, and its own From."""
    headers = {"Sender": "office@example.com", "From": "c@example.com, d@example.com"}
    message = written(through(letter(from_email=SEVERAL[0][0], extra_headers=headers)))
    assert message.get_all("Sender") == ["office@example.com"]
    assert message.get_all("From") == ["c@example.com, d@example.com"]


@pytest.mark.parametrize(
    "given",
    ["a@example.com, b@", "Team: a@example.com, b@example.com;", "a@example.com, b@exa mple.com",
     "a@example.com,\nb@example.com"],
)  # fmt: skip
def test_each_of_several_senders_must_be_an_address(given):
    """At send(), not in a worker."""
    with pytest.raises(ValueError, match="address"):
        payload.dumps(letter(from_email=given), "id")


HEADERS = {"X-Number": 17, "X-Price": Decimal("12.50"), "X-Share": 0.5, "X-On": True, "X-No": None}


def test_a_number_in_a_header_is_a_number_for_a_mail_service_and_text_in_mail():
    """Django 6.1 can't write one; it is written as any other value."""
    message = through(letter(extra_headers=HEADERS))
    assert message.extra_headers == HEADERS
    texts = {name: written(message)[name] for name in HEADERS}
    assert texts == {"X-Number": "17", "X-Price": "12.50", "X-Share": "0.5", "X-On": "True",
                     "X-No": ""}  # fmt: skip


def test_infinity_in_a_header_is_text():
    """JSON has none."""
    message = through(letter(extra_headers={"X-Limit": float("inf")}))
    assert message.extra_headers == {"X-Limit": "inf"}


NEWER = "\u0789\u07a8\u0790\u07a7\u078d\u07aa.example.mv"  # RFC 5893 allows it, RFC 3491 didn't
DOMAIN = """
from django.core.mail import EmailMessage
from mailqueue.delivery.envelope import Outgoing, render
from mailqueue.queue import payload

message = EmailMessage("Hello", "text", f"Me <me@{DOMAIN}>", [f"Ann <ann@{DOMAIN}>"])
message.reply_to = [f"a@{DOMAIN}"]
again = payload.loads(payload.dumps(message, "id"))
envelope = render(Outgoing("id", again, tuple(again.recipients())))
result = [again.to, envelope.sender, list(envelope.recipients), envelope.data.decode("ascii")]
"""


def test_a_domain_that_only_newer_rules_know_is_written():
    """Anymail hands such a one to its service; Django's classes can't write it (IDNA 2003)."""
    to, sender, recipients, text = in_django({}, f"DOMAIN = {NEWER!a}\n{DOMAIN}")
    plain = idna.encode(NEWER).decode()
    assert to == [f"Ann <ann@{NEWER}>"]
    assert (sender, recipients) == (f"me@{plain}", [f"ann@{plain}"])
    for field in (f"From: Me <me@{plain}>", f"To: Ann <ann@{plain}>", f"Reply-To: a@{plain}"):
        assert field in text


STRING = """
from django.core.mail import EmailMessage
from django.utils.functional import lazystr
from mailqueue.queue import payload
result = []
for given in ("reply@example.com", "a", lazystr("reply@example.com")):
    message = EmailMessage("Hello", "text", "me@example.com", ["you@example.com"])
    message.reply_to = given
    try:
        payload.dumps(message, "id")
    except TypeError as error:
        result.append(str(error))
"""


def test_a_string_for_a_list_of_reply_addresses_is_refused():
    """Each letter of it was taken for an address, in messages of Django's classes."""
    with pytest.raises(TypeError, match='"reply_to"'):
        payload.dumps(letter(reply_to="reply@example.com"), "id")
    assert [error[:10] for error in in_django({}, STRING)] == ['"reply_to"'] * 3


def test_payloads_of_version_1_keep_the_message_id_that_they_have():
    """It stands among their headers, and each attempt sends it."""
    sample = json.loads((PAYLOADS / "v1-plain.json").read_text("utf-8"))
    message = payload.loads(json.dumps(sample["payload"]))
    assert complete(message) is message
    assert written(message)["Message-ID"] == "<sample@example.com>"


FORGED = {
    "a value that is none": {"headers": {"X-A": {"a": 1}}},
    "a list of values": {"headers": {"X-A": ["a", "b"]}},
    "a Decimal that is none": {"headers": {"X-A": {"$decimal": "1\n2"}}},
    "no headers": {"added": None},
    "a number that is added": {"added": {"X-A": 5}},
    "no sender": {"from_email": None},
    "a sender that is none": {"sender": 5},
}


@pytest.mark.parametrize("change", FORGED.values(), ids=FORGED)
def test_a_payload_that_says_something_else_is_refused(change):
    """When it is read, as any other that can't be: its message fails, and no other."""
    found = json.loads(payload.dumps(letter(), "id"))
    with pytest.raises(PayloadError):
        payload.loads(json.dumps(found | change))


INJECTED = {
    "value": {"added": {"X-A": "a\r\nBcc: b@example.com"}},
    "name": {"added": {"X-A: a\r\nBcc": "b@example.com"}},
    "sender": {"sender": "me@example.com>\r\nRCPT TO:<b@example.com"},
}


@pytest.mark.parametrize("change", INJECTED.values(), ids=INJECTED)
def test_what_is_added_has_no_line_end_when_it_is_written(change):
    """Whoever can write to the journal writes no header of theirs into mail."""
    found = json.loads(payload.dumps(letter(), "id"))
    message = payload.loads(json.dumps(found | change))
    with pytest.raises(BadHeaderError):
        render(Outgoing("id", message, ("you@example.com",)))


DJANGO = """
from email import message_from_bytes, policy
from django.core.mail import EmailMessage
from mailqueue.delivery.envelope import Outgoing, render
from mailqueue.mail.rendering.completion import complete
from mailqueue.queue import payload

def parsed(**changes):
    message = EmailMessage("Hello", "text", "me@example.com", ["you@example.com"])
    vars(message).update(changes)
    again = payload.loads(payload.dumps(message, "id"))
    assert type(again) is EmailMessage and again.extra_headers == message.extra_headers
    first, second = (render(Outgoing("id", again, ("you@example.com",))) for _ in range(2))
    assert first == second
    found = message_from_bytes(first.data, policy=policy.default)
    built = complete(again).message()
    same = all(str(built[name]) == str(found[name]) for name in ("Message-ID", "Date", "From"))
    return [same, first.sender, found["From"], found["Sender"], found["Subject"], found["X-Number"]]

result = [
    parsed(),
    parsed(from_email=None, subject=None),
    parsed(from_email="a@example.com, b@example.com"),
    parsed(extra_headers={"X-Number": 17}),
]
"""


def test_it_is_the_same_with_djangos_classes():
    """Whichever Django it is, each attempt writes the same, and None is written nowhere."""
    plain, unset, several, number = in_django({"DEFAULT_FROM_EMAIL": "default@example.com"}, DJANGO)
    assert plain == [True, "me@example.com", "me@example.com", None, "Hello", None]
    assert unset == [True, "default@example.com", "default@example.com", None, "", None]
    both = "a@example.com, b@example.com"
    assert several == [True, "a@example.com", both, "a@example.com", "Hello", None]
    assert number == [True, "me@example.com", "me@example.com", None, "Hello", "17"]
