"""A message that travels as MIME, because its class builds it in a way of its own."""

from __future__ import annotations

import json
import pickle
from base64 import b64encode
from copy import deepcopy
from email import policy
from email.message import EmailMessage as PythonMessage
from email.message import Message
from email.mime.multipart import MIMEMultipart
from typing import Any

import pytest

from mailqueue import EmailMessage, EmailMultiAlternatives
from mailqueue.mail.rendering.render import rendered_bytes
from mailqueue.queue.payload import dumps, loads, parse
from tests.support import in_django

SIGNATURE = "v=1; a=rsa-sha256; b=" + "q" * 300


class Bare(EmailMessage):
    """A message that is built without what each mail needs."""

    def message(self, **_: object) -> Message:
        built = Message()
        built["Subject"] = "Bare"
        built.set_payload("Body")
        return built


class Signed(EmailMultiAlternatives):
    """A message with a header that nobody may fold anew."""

    def message(self, **options: Any) -> Any:
        built = super().message(**options)
        built.policy = built.policy.clone(refold_source="none")
        built.set_raw("DKIM-Signature", SIGNATURE)
        return built


def letter(class_: Any = Signed) -> Any:
    message = class_(
        "Subject", "Text", "Me <me@example.com>", ["Ann <ann@example.com>"],
        cc=["c@example.com"], bcc=["d@example.com"], reply_to=["r@example.com"],
        headers={"X-Note": "note"},
    )  # fmt: skip
    message.attach("a.bin", bytes(range(256)) * 100, "application/octet-stream")
    message.attach("a.txt", "text", "text/plain")
    message.metadata = {"order": 17}
    return message


def test_a_message_that_lacks_date_and_id_gets_them_when_it_is_queued() -> None:
    """Every attempt sends those, and not what the clock says by then."""
    text = dumps(Bare(to=["ann@example.com"]), "an-id")
    first, second = (loads(text).message() for _ in range(2))
    assert first["Date"]
    assert first["Message-ID"]
    assert (first["Date"], first["Message-ID"]) == (second["Date"], second["Message-ID"])


def test_it_has_all_that_a_message_has() -> None:
    """Its attributes are those of the message, as Django documents them, and it can be changed."""
    message = letter()
    message.attach_alternative("<p>HTML</p>", "text/html")
    again = loads(dumps(message, "an-id"))
    assert isinstance(again, EmailMultiAlternatives)
    names = [*vars(message), "content_subtype", "mixed_subtype", "encoding"]
    assert {name: getattr(again, name) for name in names} == {
        name: getattr(message, name) for name in names
    }
    assert again.connection is None
    again.attach("b.txt", "B", "text/plain")
    again.attach_alternative("<p>", "text/html")
    assert (len(again.attachments), len(again.alternatives)) == (3, 2)


def test_what_its_mime_says_is_not_carried_twice() -> None:
    """An attachment of megabytes would take room for two."""
    found = parse(dumps(letter(), "an-id"))
    assert found.keys() & {"to", "cc", "bcc", "reply_to", "encoding"} == set()
    message = letter()
    message.attachments = message.attachments[:1]
    assert "attachments" not in parse(dumps(message, "an-id"))


@pytest.mark.parametrize("linesep", ["\n", "\r\n"])
def test_nothing_folds_it_anew(linesep: str) -> None:
    """A signature over its headers stays valid, whatever a backend asks for."""
    built = loads(dumps(letter(), "an-id")).message(policy=policy.default.clone(linesep=linesep))
    header = f"DKIM-Signature: {SIGNATURE}{linesep}".encode()
    assert header in built.as_bytes()
    assert header in built.as_bytes(policy=policy.default.clone(linesep=linesep))
    assert header in built.as_bytes(linesep=linesep)
    assert header.decode() in built.as_string(linesep=linesep)


def test_it_can_be_copied_and_pickled() -> None:
    """Backends that keep a message copy it; what was built and whom it is for stay."""
    message = loads(dumps(letter(), "an-id"))
    for again in (deepcopy(message), pickle.loads(pickle.dumps(message))):
        assert type(again) is type(message)
        assert rendered_bytes(again, "an-id") == rendered_bytes(message, "an-id")
        assert (again.recipients(), again.metadata) == (message.recipients(), {"order": 17})


def test_it_can_be_queued_again() -> None:
    """As the same message."""
    message = loads(dumps(letter(), "an-id"))
    again = loads(dumps(message, "an-id"))
    assert rendered_bytes(again, "an-id") == rendered_bytes(message, "an-id")
    assert again.recipients() == message.recipients()


# -- payloads of before, which had the MIME only


def of_before(built: Any, *recipients: str) -> Any:
    found = {"v": 1, "id": "an-id", "kind": "rendered", "subject": "Subject"}
    found |= {"from_email": "me@example.com", "recipients": recipients}
    return loads(json.dumps(found | {"mime": b64encode(built.as_bytes()).decode()}))


def summary(message: Any) -> list[Any]:
    """What a backend that asks for attributes would send."""
    return [
        message.body,
        message.content_subtype,
        [tuple(alternative) for alternative in message.alternatives],
        [
            (part.get_filename(), part.get_content(), part.get_content_type())
            if isinstance(part, Message)
            else tuple(part)
            for part in message.attachments
        ],
    ]


def python_message(*contents: Any, **options: Any) -> PythonMessage:
    built = PythonMessage()
    if contents:
        built.set_content(*contents, **options)
    return built


def with_related() -> PythonMessage:
    built = python_message("Text")
    built.add_alternative("<p>HTML</p>", subtype="html")
    built.get_payload()[1].add_related(b"GIF", "image", "gif", cid="<logo>")  # type: ignore[index,union-attr,call-arg]
    built.add_attachment(b"PDF", maintype="application", subtype="pdf", filename="a.pdf")
    return built


def signed() -> MIMEMultipart:
    built = MIMEMultipart("signed")
    built.attach(python_message("Text"))
    built.attach(python_message(b"signature", "application", "pgp-signature", filename="s.asc"))
    return built


def encrypted() -> MIMEMultipart:
    built = MIMEMultipart("encrypted")
    built.attach(python_message(b"Version: 1", "application", "pgp-encrypted"))
    built.attach(python_message(b"sealed", "application", "octet-stream"))
    return built


def calendar() -> PythonMessage:
    built = python_message("Text")
    built.add_alternative("BEGIN:VCALENDAR", subtype="calendar")
    return built


@pytest.mark.parametrize(
    ("built", "expected"),
    [
        (python_message("Text"), ["Text", "plain", [], []]),
        (python_message("<p>", subtype="html"), ["<p>", "html", [], []]),
        (calendar(), ["Text", "plain", [("BEGIN:VCALENDAR", "text/calendar")], []]),
        (
            with_related(),
            [
                "Text", "plain", [("<p>HTML</p>", "text/html")],
                [(None, b"GIF", "image/gif"), ("a.pdf", b"PDF", "application/pdf")],
            ],
        ),
        (signed(), ["Text", "plain", [], [("s.asc", b"signature", "application/pgp-signature")]]),
        (
            encrypted(),
            ["", "plain", [], [
                (None, b"Version: 1", "application/pgp-encrypted"),
                (None, b"sealed", "application/octet-stream"),
            ]],
        ),
        (
            python_message(b"PDF", "application", "pdf"),
            ["", "plain", [], [(None, b"PDF", "application/pdf")]],
        ),
        (python_message(), ["", "plain", [], []]),
    ],
    ids=["text", "HTML", "calendar", "images", "signed", "encrypted", "a file", "nothing"],
)  # fmt: skip
def test_attributes_of_before_are_read_from_the_mime(built: Any, expected: list[Any]) -> None:
    """A backend that builds its request of attributes sends what was built."""
    assert summary(of_before(built, "ann@example.com")) == expected


def test_recipients_of_before_are_who_was_to_get_it() -> None:
    """Whoever stands in no header is in bcc, and a header may name somebody who isn't served."""
    built = python_message("Text")
    built["To"] = "Ann <ann@example.com>, Everybody <all@example.com>"
    built["Cc"], built["Reply-To"] = "c@example.com", "r@example.com"
    built["X-Note"], built["Message-ID"] = "note", "<id@example.com>"
    message = of_before(built, "ann@example.com", "c@example.com", "d@example.com")
    assert (message.to, message.cc) == (["ann@example.com"], ["c@example.com"])
    assert (message.bcc, message.reply_to) == (["d@example.com"], ["r@example.com"])
    assert message.extra_headers == {"X-Note": "note", "To": built["To"]}


@pytest.mark.parametrize("mime", [b"", b"\xff\x00", b"Content-Type: multipart/mixed\n\nText"])
def test_a_payload_of_before_is_read_whatever_was_built(mime: bytes) -> None:
    """Its bytes can be sent; what a parser makes of them is another matter."""
    found = {
        "v": 1,
        "id": "an-id",
        "kind": "rendered",
        "subject": "s",
        "from_email": "me@example.com",
    }
    found |= {"recipients": ["ann@example.com"], "mime": b64encode(mime).decode()}
    message = loads(json.dumps(found))
    assert message.recipients() == ["ann@example.com"]
    message.message().as_bytes()


DJANGOS = """
import json
from django.core import mail
from mailqueue.queue import payload
message = payload.loads({text!r})
backend = mail.get_connection("django.core.mail.backends.{kind}.EmailBackend")
result = [backend.send_messages([message]), isinstance(message, mail.EmailMessage)]
"""


@pytest.mark.parametrize("kind", ["locmem", "dummy"])
def test_djangos_backends_without_a_server_take_it(kind: str) -> None:
    """Those with one, and that print, are in test_pairs.py."""
    text = dumps(letter(), "an-id")
    assert in_django({}, DJANGOS.format(text=text, kind=kind))[0] == 1
