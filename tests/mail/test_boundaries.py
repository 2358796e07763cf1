"""The lines between the parts of a message: none stands in a part, none begins another."""

from __future__ import annotations

from email import message_from_bytes
from email.message import Message, MIMEPart
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

import pytest

from mailqueue import EmailMessage, EmailMultiAlternatives
from mailqueue.mail.rendering.boundary import boundary
from mailqueue.mail.rendering.render import built_bytes, rendered_bytes
from mailqueue.mail.rendering.simple import write
from tests.contracts.samples import HEADERS


def test_no_boundary_begins_with_another() -> None:
    """A reader compares how lines begin (RFC 2046 5.1.1), and would end the outer parts."""
    found = {boundary("id", number, attempt) for number in range(200) for attempt in range(3)}
    assert len(found) == 600
    assert len({*map(len, found)}) == 1


def letter(body: str, attached: str) -> EmailMultiAlternatives:
    message = EmailMultiAlternatives("s", body, "ann@example.com", ["b@x.example"], headers=HEADERS)
    message.attach_alternative("<p>HTML</p>", "text/html")
    message.attach("a.txt", attached, "text/plain")
    return message


def texts(data: bytes) -> list[str]:
    parts = message_from_bytes(data).walk()
    return [p.get_payload(decode=True).decode() for p in parts if not p.is_multipart()]  # type: ignore[union-attr]


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("end", ["", "--", " and more"])
def test_a_text_may_have_the_lines_that_would_stand_between_parts(number: int, end: str) -> None:
    """Other ones are found, the same each time, on each way of writing."""
    line = f"--{boundary('id', number)}{end}\n"
    for body, attached in (("x\n" + line, "y\n"), (line + "x\n", "y\n"), ("x\n", "y\n" + line)):
        message = letter(body, attached)
        fast = write(message, "id")
        assert fast == write(message, "id")
        for data in (fast or b"", built_bytes(message, "id")):
            assert [t.replace("\r\n", "\n") for t in texts(data)] == [
                body, "<p>HTML</p>\n", attached,
            ]  # fmt: skip


@pytest.mark.parametrize(
    ("outer", "inner"), [("b", "b"), ("b", "bb"), ("", "b"), ("x" * 80, "\xe9")]
)
def test_boundaries_that_were_given_are_kept_apart(outer: str, inner: str) -> None:
    """A multipart of somebody's may have any, and hold another of his."""
    within = MIMEPart()
    within["Content-Type"] = f'multipart/related; boundary="{inner}"'
    within.set_payload([MIMEText("one"), MIMEText("two\n--b\nthree")])
    whole = MIMEPart()
    whole["Content-Type"] = f'multipart/mixed; boundary="{outer}"'
    whole.set_payload([within, MIMEText("four")])
    message = EmailMessage("s", "zero", "ann@example.com", ["b@x.example"], headers=HEADERS)
    message.attachments.append(whole)
    data = rendered_bytes(message, "id")
    wanted = ["zero", "one", "two\n--b\nthree", "four"]
    assert [t.strip().replace("\r\n", "\n") for t in texts(data)] == wanted
    assert data == rendered_bytes(message, "id")


def test_what_is_signed_keeps_the_boundaries_within() -> None:
    """Its signature is over them."""
    content = MIMEMultipart("mixed", "b", [MIMEText("one"), MIMEText("x\n--bb\ny")])
    message = EmailMessage("s", "zero", "ann@example.com", ["b@x.example"], headers=HEADERS)
    message.attachments.append(MIMEMultipart("signed", "c", [content, MIMEText("signature")]))
    signed: Message = message_from_bytes(rendered_bytes(message, "id")).get_payload()[1]  # type: ignore[assignment,index]
    assert signed.get_payload(0).get_boundary() == "b"  # type: ignore[union-attr]
