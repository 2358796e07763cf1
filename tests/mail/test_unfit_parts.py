"""Parts of anybody's message that a server can't take as they are, and those that stay so."""

from __future__ import annotations

from email import message_from_bytes
from email.message import Message
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

import pytest

from mailqueue.mail.rendering.flatten import flatten
from mailqueue.mail.rendering.render import built_bytes


class Built:
    """A message that its class has built, as an application's own does."""

    def __init__(self, built: Message) -> None:
        self._built = built

    def message(self) -> Message:
        return self._built


def part(content: bytes, encoding: str | None, kind: str = "text/plain") -> Message:
    """A part as it was parsed from somebody's bytes."""
    head = f"Content-Type: {kind}\r\n"
    head += f"Content-Transfer-Encoding: {encoding}\r\n" if encoding else ""
    return message_from_bytes(head.encode() + b"\r\n" + content)


def with_part(inner: Message, subtype: str = "mixed") -> Built:
    whole = MIMEMultipart(subtype)
    whole.attach(MIMEText("first"))
    whole.attach(inner)
    return Built(whole)


def second_part(data: bytes) -> Message:
    found = message_from_bytes(data).get_payload()[1]
    assert isinstance(found, Message)
    return found


@pytest.mark.parametrize("encoding", ["8bit", "binary", None])
@pytest.mark.parametrize("kind", ["text/plain", "application/octet-stream"])
def test_eight_bits_without_a_charset_are_encoded_for_seven(encoding, kind):
    """The bytes are the same for the reader, whatever they mean."""
    data = built_bytes(with_part(part(b"gr\xfc\xdfe", encoding, kind)), "id", seven_bit=True)
    assert data.isascii()
    assert second_part(data).get_payload(decode=True) == b"gr\xfc\xdfe"


def test_eight_bits_stay_where_they_may():
    """Nothing is encoded that a server with 8BITMIME takes."""
    data = built_bytes(with_part(part(b"gr\xfc\xdfe", "8bit")), "id")
    assert b"gr\xfc\xdfe" in data


@pytest.mark.parametrize("write", [flatten, lambda message: built_bytes(message, "id")])
def test_a_nul_is_encoded_by_all_that_write_messages(write):
    """No server takes it, and some take it for the content's end."""
    data = write(with_part(part(b"a\0b", None)))
    assert b"\0" not in data
    assert second_part(data).get_payload(decode=True) == b"a\0b"


@pytest.mark.parametrize("content", [b"a\0b", b"gr\xc3\xbc"])
def test_what_is_signed_is_left_as_it_is(content):
    """Its signature is over these very bytes."""
    message = with_part(part(content, "8bit"), "signed")
    assert content in built_bytes(message, "id")


def test_what_is_forwarded_is_left_as_it_is():
    """A message within a message can't be in base64 (RFC 2046 5.2.1)."""
    data = built_bytes(with_part(part(b"Subject: s\r\n\r\na\0b", "8bit", "message/rfc822")), "id")
    assert b"a\0b" in data
