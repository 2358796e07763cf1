"""Messages that are attached as bytes or text: as they came, or whole as a stream of bytes."""

from __future__ import annotations

from email import message_from_bytes
from email.message import Message
from typing import Any

import pytest

from mailqueue import EmailMessage, EmailMultiAlternatives
from mailqueue.mail.rendering.flatten import flatten
from mailqueue.mail.rendering.render import rendered_bytes
from mailqueue.queue import payload

ODD = {
    "a Message-ID longer than a line": b"Message-ID: <" + b"x" * 90 + b"[a]@b.example>\n\ntext\n",
    "raw Latin-1 in a long header": b"Subject: " + b"gr\xfc\xdfe " * 30 + b"\n\ntext\n",
    "no multipart in spite of its type": b"Content-Type: multipart/mixed; boundary=x\n\ngr\xfc\n",
    "an unknown charset": b"Content-Type: text/plain; charset=no-such\n\ngr\xfc\xdfe\n",
    "UTF-8": "Subject: Grüße\n\nGrüße\n".encode(),
    "folds and spaces of its own": b"subject:a\nX-Signed:  1;\n\t b=2 \n\n--\n text \n",
    "CRLF": b"Subject: s\r\n\r\ntext\r\n",
    "a signature": b"DKIM-Signature: v=1; b=" + b"q" * 300 + b"\n\ntext\n",
    "nothing": b"",
    "no headers": b"\ntext",
    "no header at all": b"text",
    "parts without their end": b"Content-Type: multipart/mixed; boundary=x\n\n--x\n\ntext",
}
UNFIT = {
    "a line too long": b"Subject: s\n\n" + b"x" * 999 + b"\n",
    "a bare CR": b"Subject: s\n\na\rb\n",
    "only CR": b"Subject: s\r\rtext\r",
    "a bare LF": b"Subject: s\r\n\r\na\nb\r\n",
    "a NUL": b"Subject: s\n\na\0b\n",
}


def forwarding(
    content: bytes | str, kind: str = "message/rfc822", name: str | None = "m.eml"
) -> EmailMessage:
    message = EmailMessage("s", "b", "ann@example.com", ["bob@example.com"])
    message.attach(name, content, kind)
    return message


def written(message: Any, **way: bool) -> tuple[bytes, Message]:
    """The message as a worker writes it, and its attachment."""
    data = rendered_bytes(payload.loads(payload.dumps(message, "id")), "id", **way)
    found = message_from_bytes(data).get_payload()[-1]
    assert isinstance(found, Message)
    return data, found


def with_crlf(content: bytes) -> bytes:
    return content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


@pytest.mark.parametrize("content", ODD.values(), ids=ODD)
def test_a_message_is_written_as_it_came(content: bytes) -> None:
    """Byte for byte but for its line ends; nobody parses it, so it may break any rule."""
    data, part = written(forwarding(content))
    assert part.get_content_type() == "message/rfc822"
    assert b"\r\n\r\n" + with_crlf(content) + b"\r\n--" in data
    assert part["Content-Transfer-Encoding"] == ("7bit" if content.isascii() else "8bit")


@pytest.mark.parametrize("content", ODD.values(), ids=ODD)
def test_without_8bitmime_it_is_whole(content: bytes) -> None:
    """As a stream of bytes under its name, where it isn't ASCII; else as it came."""
    data, part = written(forwarding(content), seven_bit=True)
    assert data.isascii()
    if content.isascii():
        assert b"\r\n\r\n" + with_crlf(content) + b"\r\n--" in data
    else:
        assert (part.get_content_type(), part.get_filename()) == (
            "application/octet-stream", "m.eml",
        )  # fmt: skip
        assert part.get_payload(decode=True) == content


@pytest.mark.parametrize("seven_bit", [False, True])
@pytest.mark.parametrize("content", UNFIT.values(), ids=UNFIT)
def test_what_no_server_takes_is_whole(content: bytes, seven_bit: bool) -> None:
    """With all its bytes, and not one of them another."""
    data, part = written(forwarding(content), seven_bit=seven_bit)
    assert (part.get_content_type(), part.get_filename()) == ("application/octet-stream", "m.eml")
    assert part.get_payload(decode=True) == content
    assert max(map(len, data.split(b"\r\n"))) <= 998


@pytest.mark.parametrize(("name", "wanted"), [(None, "message.eml"), ("a.eml", "a.eml")])
def test_a_message_without_a_name_gets_one_with_which_it_can_be_opened(name, wanted) -> None:
    """Where it is a stream of bytes, whose type says nothing."""
    _, part = written(forwarding(b"Subject: gr\xfc\n\n", name=name), seven_bit=True)
    assert part.get_filename() == wanted


@pytest.mark.parametrize("seven_bit", [False, True])
@pytest.mark.parametrize("end", [b"", b"\n", b"\n\n"])
def test_a_delivery_report_is_written_as_it_came(end: bytes, seven_bit: bool) -> None:
    """Given as bytes: its blocks, and what is at its end."""
    report = b"Reporting-MTA: dns; x\n\nFinal-Recipient: rfc822; a@b.example" + end
    data, part = written(forwarding(report, "message/delivery-status"), seven_bit=seven_bit)
    assert part.get_content_type() == "message/delivery-status"
    assert b"\r\n\r\n" + with_crlf(report) + b"\r\n--" in data


@pytest.mark.parametrize("kind", ["Message/RFC822", "message/rfc822; name=x", "message/global"])
def test_each_type_of_message_is_written_as_it_came(kind: str) -> None:
    """Whatever its letters' case and its parameters."""
    data, part = written(forwarding(b"Subject: s\n\ntext\n", kind))
    assert part.get_content_type() == kind.lower().partition(";")[0]
    assert b"\r\n\r\nSubject: s\r\n\r\ntext\r\n" in data


def test_a_type_that_nobody_reads_is_no_message() -> None:
    """A reader would take it for text."""
    _, part = written(forwarding(b"Subject: s\n\n", "message/a b"))
    assert part.get_content_type() == "application/octet-stream"
    assert part.get_payload(decode=True) == b"Subject: s\n\n"


def test_text_that_stands_for_bytes_becomes_those() -> None:
    """As a file has them that was read with surrogateescape (PEP 383)."""
    data, _ = written(forwarding("Subject: gr\udcfc\n\ntext"))
    assert b"Subject: gr\xfc\r\n\r\ntext\r\n" in data


def test_text_that_cannot_be_written_is_named() -> None:
    """At send(), by the attachment's name."""
    with pytest.raises(UnicodeEncodeError, match=r"in the attachment 'm\.eml'"):
        payload.dumps(forwarding("Subject: \ud800\n\n"), "id")


def test_message_writes_it_as_it_came() -> None:
    """message() too, for whoever writes it by Python's generator, and by a policy of seven bits."""
    source = b"subject:gr\xfc\n\ntext\n"
    built = forwarding(source).message()
    assert b"\n\n" + source in built.as_bytes()
    assert b"\r\n\r\n" + with_crlf(source) in flatten(forwarding(source), linesep="\r\n")
    assert flatten(forwarding(source), seven_bit=True).isascii()


def test_a_message_may_be_a_version_of_the_body() -> None:
    """As anything may."""
    message = EmailMultiAlternatives("s", "b", "ann@example.com", ["bob@example.com"])
    message.attach_alternative(b"subject:gr\xfc\n\ntext", "message/rfc822")
    data, part = written(message)
    assert part.get_content_type() == "message/rfc822"
    assert b"\r\n\r\nsubject:gr\xfc\r\n\r\ntext\r\n--" in data


@pytest.mark.parametrize("seven_bit", [False, True])
def test_a_message_within_a_forwarded_one_travels_as_it_came(seven_bit: bool) -> None:
    """The outer one is an object, whose parts travel each by itself."""
    inner = forwarding(b"subject:gr\xfc\n\ntext\n")
    inner.extra_headers = {"Date": "Fri, 20 Nov 2026 10:00:00 +0000", "Message-ID": "<a@b.example>"}
    outer = EmailMessage("s", "b", "ann@example.com", ["bob@example.com"])
    outer.attach("o.eml", inner, "message/rfc822")
    data, part = written(outer, seven_bit=seven_bit)
    forwarded = part.get_payload(0).get_payload()[-1]
    if seven_bit:
        assert data.isascii()
        assert forwarded.get_payload(decode=True) == b"subject:gr\xfc\n\ntext\n"
    else:
        assert b"\r\n\r\nsubject:gr\xfc\r\n\r\ntext\r\n" in data
