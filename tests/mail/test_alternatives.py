"""EmailMultiAlternatives: more than one version of the body."""

from __future__ import annotations

import inspect
import io
from email import message_from_bytes, policy
from email.charset import Charset

import pytest

from mailqueue import EmailAlternative, EmailMessage, EmailMultiAlternatives


def types(message: EmailMessage) -> list[str]:
    """The type of each part, outermost first."""
    found = message_from_bytes(message.message().as_bytes(), policy=policy.default)
    return [part.get_content_type() for part in found.walk()]


def test_text_and_html() -> None:
    """The versions follow the body in a multipart/alternative."""
    message = EmailMultiAlternatives("s", "text")
    message.attach_alternative("<p>Grüße</p>", "text/html")
    assert types(message) == ["multipart/alternative", "text/plain", "text/html"]
    assert message.message().get_body(("html",)).get_content() == "<p>Grüße</p>\n"


def test_it_takes_all_that_an_email_message_takes() -> None:
    """A subclass, whose constructor has one parameter more."""
    assert issubclass(EmailMultiAlternatives, EmailMessage)
    taken = inspect.signature(EmailMultiAlternatives).parameters.keys()
    assert taken - inspect.signature(EmailMessage).parameters.keys() == {"alternatives"}


def test_alternatives_are_named_tuples() -> None:
    """Content and type can be read by name, as tests of applications do."""
    message = EmailMultiAlternatives("s", "text")
    message.attach_alternative("<p>", "text/html")
    assert message.alternatives == [EmailAlternative("<p>", "text/html")]
    assert (message.alternatives[0].content, message.alternatives[0].mimetype) == (
        "<p>",
        "text/html",
    )


def test_alternatives_of_the_constructor() -> None:
    """Plain tuples given there become EmailAlternative."""
    message = EmailMultiAlternatives("s", "text", alternatives=[("<p>", "text/html")])
    assert message.alternatives[0].mimetype == "text/html"


def test_alternatives_within_attachments() -> None:
    """With attachments, the alternatives are one part of the whole."""
    message = EmailMultiAlternatives(
        "s", "text", alternatives=[("<p>", "text/html")], attachments=[("a.bin", b"1")]
    )
    assert types(message) == [
        *["multipart/mixed", "multipart/alternative", "text/plain", "text/html"],
        "application/octet-stream",
    ]


def test_html_without_text() -> None:
    """No body, one alternative: only that is there, and the message says that it is MIME."""
    message = EmailMultiAlternatives("s", alternatives=[("<p>", "text/html")])
    assert types(message) == ["multipart/alternative", "text/html"]
    assert message.message()["MIME-Version"] == "1.0"


def test_alternatives_of_any_type() -> None:
    """Bytes, calendars and whole messages may be alternatives."""
    message = EmailMultiAlternatives("s", "text")
    message.attach_alternative(b"\xff\xfe", "application/x-thing")
    message.attach_alternative("BEGIN:VCALENDAR", "text/calendar; method=REQUEST")
    message.attach_alternative(EmailMessage("inner", "b"), "message/rfc822")
    assert types(message)[2:] == [
        *["application/x-thing", "text/calendar", "message/rfc822", "text/plain"]
    ]


@pytest.mark.parametrize(("content", "mimetype"), [(None, "text/html"), ("<p>", None)])
def test_content_and_type_are_required(content, mimetype) -> None:
    """An alternative of nothing or of no type is a ValueError."""
    with pytest.raises(ValueError, match=r"Both content and mimetype must be provided\."):
        EmailMultiAlternatives().attach_alternative(content, mimetype)


def test_body_contains() -> None:
    """The text must be in the body and in every alternative that is text."""
    message = EmailMultiAlternatives("Hello", "I am content.")
    message.attach_alternative("<p>I am content.</p>", "text/html")
    message.attach_alternative(b'{"no": "text"}', "application/json")
    assert message.body_contains("I am content") is True
    assert message.body_contains("<p>I am content.</p>") is False


def test_body_contains_reads_bytes() -> None:
    """An alternative of bytes is read as UTF-8, and bytes that aren't do no harm."""
    message = EmailMultiAlternatives("s", "Grüße", alternatives=[("Grüße".encode(), "text/html")])
    assert message.body_contains("Grüße") is True
    message.attach_alternative(b"\xff", "text/plain")
    assert message.body_contains("Grüße") is False


def test_a_subclass_may_choose_the_multipart_type() -> None:
    """alternative_subtype was there before Django 6, and still is here."""

    class Related(EmailMultiAlternatives):
        alternative_subtype = "related"

    message = Related("s", "b", alternatives=[("<p>", "text/html"), ("x", "text/x")])
    assert types(message) == ["multipart/related", "text/plain", "text/html", "text/x"]


def test_the_encoding_holds_for_alternatives_and_attachments() -> None:
    """One message, one charset."""
    message = EmailMultiAlternatives("s", "ü", alternatives=[("ü", "text/html")])
    message.encoding = "iso-8859-1"
    message.attach("a.txt", "ü")
    charsets = [part.get_content_charset() for part in message.message().walk()]
    assert [charset for charset in charsets if charset] == ["iso-8859-1"] * 3


@pytest.mark.parametrize("encoding", [None, "iso-8859-1", Charset("iso-8859-1")])
def test_the_encoding_holds_for_text_of_any_type(encoding) -> None:
    """As in Django: an alternative that isn't text/* is in the charset of the message as well."""
    message = EmailMultiAlternatives("s", "b", alternatives=[("ü", "application/x-thing")])
    message.encoding = encoding
    *_, part = message.message().walk()
    assert part.get_content() == "ü".encode(str(encoding or "utf-8"))


def test_a_file_object_is_no_alternative() -> None:
    """TypeError where it is given, and None in the list by hand when the message is built."""
    message = EmailMultiAlternatives("s", "text")
    with pytest.raises(TypeError, match="must be text or bytes, not <_io"):
        message.attach_alternative(io.StringIO("<p>"), "text/html")
    message.alternatives.append((None, "text/html"))
    with pytest.raises(TypeError, match="must be text or bytes, not None"):
        message.message()
