"""Parts that are written without being built, and those that are left to `message()`."""

from __future__ import annotations

from email import message_from_bytes
from email.message import MIMEPart

from mailqueue import EmailMessage, EmailMultiAlternatives
from mailqueue.mail.rendering.render import built_bytes
from mailqueue.mail.rendering.simple import write
from tests.contracts.samples import HEADERS

TEXT = "A letter\n"


def test_a_part_with_a_nul_is_left_to_message() -> None:
    """It has to be encoded, which the part itself doesn't say."""
    part = MIMEPart()
    part["Content-Type"] = "text/plain"
    part.set_payload("a\0b")
    message = EmailMessage("News", TEXT, to=["b@x.example"], headers=HEADERS, attachments=[part])
    assert write(message, "id") is None
    assert b"\0" not in built_bytes(message, "id")


def test_each_multipart_has_a_boundary_of_its_own() -> None:
    """One within another would end where the other does."""
    message = EmailMultiAlternatives("News", TEXT, to=["b@x.example"], headers=HEADERS)
    message.attach_alternative("<p>HTML</p>", "text/html")
    message.attach("a.txt", "attached")
    built = message_from_bytes(write(message, "id") or b"")
    boundaries = [part.get_boundary() for part in built.walk() if part.is_multipart()]
    assert len(boundaries) == len(set(boundaries)) == 2
    assert [part.get_content_type() for part in built.walk()][2:] == [
        "text/plain", "text/html", "text/plain",
    ]  # fmt: skip
