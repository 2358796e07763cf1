"""Parts of anybody's message that a server can't take as they are, and those that stay so."""

from __future__ import annotations

import base64
from email import message_from_bytes
from email.message import Message
from email.mime.base import MIMEBase
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


def test_a_backend_that_writes_seven_bits_has_each_part_encoded():
    """Without a queue, too."""
    data = flatten(with_part(part(b"gr\xfc\xdfe", "8bit")), seven_bit=True)
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


@pytest.mark.parametrize("seven_bit", [False, True])
@pytest.mark.parametrize("content", [b"a\0b", b"gr\xfc\xdfe"])
def test_a_forwarded_message_is_never_in_base64_itself(content, seven_bit):
    """RFC 2046 5.2.1 forbids it; what is within is encoded, and the reader finds the same."""
    message = with_part(part(b"Subject: s\r\n\r\n" + content, "8bit", "message/rfc822"))
    forwarded = second_part(built_bytes(message, "id", seven_bit=seven_bit))
    assert forwarded.get("Content-Transfer-Encoding") in (None, "7bit", "8bit")
    inner = forwarded.get_payload(0)
    assert isinstance(inner, Message)
    assert inner["Subject"] == "s"
    assert inner.get_payload(decode=True) == content


def test_what_was_built_stays_as_it_was():
    """What one server can't take is no reason to give another something else."""
    message = with_part(part(b"gr\xfc\xdfe", "8bit"))
    before = message.message().as_bytes()
    assert built_bytes(message, "id", seven_bit=True).isascii()
    assert message.message().as_bytes() == before
    assert b"gr\xfc\xdfe" in built_bytes(message, "id")


@pytest.mark.parametrize("charset", ["no-such", "us-ascii", "utf-8", "iso-8859-1"])
def test_eight_bits_in_any_charset_are_the_same_in_seven(charset):
    """Python doesn't know each charset, and replaces the bytes that a charset doesn't have."""
    kind = f"text/plain; charset={charset}"
    data = built_bytes(with_part(part(b"gr\xfc\xdfe", "8bit", kind)), "id", seven_bit=True)
    assert data.isascii()
    assert second_part(data).get_payload(decode=True) == b"gr\xfc\xdfe"


@pytest.mark.parametrize("encoding", [None, "base64"])
def test_a_line_too_long_for_any_server_is_encoded(encoding):
    """Also one of base64 that nobody has broken into lines."""
    content = b"x" * 4000
    given = base64.b64encode(content) if encoding else content
    data = built_bytes(with_part(part(given, encoding, "application/x-thing")), "id")
    assert max(map(len, data.split(b"\r\n"))) <= 998
    assert second_part(data).get_payload(decode=True) == content


def test_bytes_that_are_no_lines_are_encoded():
    """A bare CR among other line ends would become another line end."""
    data = built_bytes(with_part(part(b"a\rb\nc", "binary", "application/x-thing")), "id")
    assert second_part(data).get_payload(decode=True) == b"a\rb\nc"


@pytest.mark.parametrize("seven_bit", [False, True])
@pytest.mark.parametrize("kind", ["multipart/mixed; boundary=x", "message/delivery-status"])
def test_what_claims_to_have_parts_and_has_none_is_whole(kind, seven_bit):
    """As a stream of bytes, where it can't be written as what it says."""
    given = MIMEBase("application", "x-thing")
    given.replace_header("Content-Type", kind)
    given.set_payload(b"gr\xfc\xdfe".decode("ascii", "surrogateescape"))
    found = second_part(built_bytes(with_part(given), "id", seven_bit=seven_bit))
    if found.get_content_type() == "application/octet-stream":
        assert found.get_payload(decode=True) == b"gr\xfc\xdfe"
    else:
        assert b"\n\ngr\xfc\xdfe" in found.as_bytes()
        assert not seven_bit
