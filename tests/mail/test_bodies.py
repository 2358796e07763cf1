"""Bodies: types, charsets and transfer encodings."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.charset import BASE64, QP, Charset

import pytest

import mailqueue
from mailqueue import EmailMessage, EmailMultiAlternatives


def read(message: EmailMessage):
    """What a reader makes of the message's bytes."""
    return message_from_bytes(message.message().as_bytes(), policy=policy.default)


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        ("plain ASCII", "7bit"),
        ("Grüße", "8bit"),
        ("x" * 999, "quoted-printable"),
        ("viele Wörter " * 100, "quoted-printable"),
        ("漢字" * 500, "base64"),
    ],
)
def test_the_transfer_encoding_follows_from_the_body(body, encoding) -> None:
    """Short lines go as they are, long ones as quoted-printable or base64; the text is the same."""
    found = read(EmailMessage("s", body))
    assert found["Content-Transfer-Encoding"] == encoding
    assert found.get_content() == body + "\n"
    assert (
        max(len(line) for line in EmailMessage("s", body).message().as_bytes().split(b"\n")) < 998
    )


def test_nul_is_written_in_a_form_that_servers_take() -> None:
    """RFC 2045 has it in neither 7bit nor 8bit: quoted-printable, and the reader gets it back."""
    built = EmailMessage("s", "a\0b\n", "a@example.com", ["b@example.com"]).message()
    assert b"\0" not in built.as_bytes()
    assert built["Content-Transfer-Encoding"] == "quoted-printable"
    assert built.get_content() == "a\0b\n"


def test_a_seven_bit_policy_is_obeyed() -> None:
    """With cte_type="7bit" nothing but ASCII is written."""
    rendered = EmailMessage("s", "Grüße").message(policy=policy.SMTP.clone(cte_type="7bit"))
    assert rendered.as_bytes().isascii()


def test_the_default_charset_is_a_setting() -> None:
    """DEFAULT_CHARSET is the charset of the body."""
    mailqueue.configure(DEFAULT_CHARSET="iso-8859-1")
    message = EmailMessage("s", "Grüße")
    assert message.message().get_content_charset() == "iso-8859-1"
    assert b"Gr\xfc\xdfe" in message.message().as_bytes()


@pytest.mark.parametrize(
    "charset", ["iso-8859-1", "windows-1252", "utf-8", "utf-16", "utf-16-le", "utf-32", "utf-7"]
)
def test_encoding_is_the_charset_of_one_message(charset) -> None:
    """The attribute ``encoding`` sets it; Python alone would cut UTF-16 in mid-character."""
    text = "Grüße\naus Köln\nĊ" if charset.startswith("utf") else "Grüße\naus Köln\n"
    message = EmailMessage("s", text)
    message.encoding = charset
    assert read(message).get_content().rstrip("\n") == text.rstrip("\n")
    assert message.message().get_content_charset() == charset


def test_japanese_mail_is_seven_bit() -> None:
    """iso-2022-jp needs no eighth bit."""
    message = EmailMessage("s", "日本")
    message.encoding = "iso-2022-jp"
    found = read(message)
    assert (found["Content-Transfer-Encoding"], found.get_content()) == ("7bit", "日本\n")


@pytest.mark.parametrize(("kind", "encoding"), [(QP, "quoted-printable"), (BASE64, "base64")])
def test_encoding_may_be_a_charset_object(kind, encoding) -> None:
    """Older code chooses the transfer encoding by an ``email.charset.Charset``."""
    charset = Charset("utf-8")
    charset.body_encoding = kind
    message = EmailMessage("s", "Grüße")
    message.encoding = charset
    found = read(message)
    assert (found["Content-Transfer-Encoding"], found.get_content()) == (encoding, "Grüße\n")


def test_text_that_the_charset_lacks_is_an_error() -> None:
    """A ValueError when the message is built, not a question mark in the mail."""
    message = EmailMessage("s", "10 €")
    message.encoding = "iso-8859-1"
    with pytest.raises(ValueError, match="can't encode"):
        message.message()


def test_html_only() -> None:
    """content_subtype makes the body HTML."""
    message = EmailMessage("s", "<p>Grüße</p>")
    message.content_subtype = "html"
    assert message.message().get_content_type() == "text/html"


def test_line_ends_of_all_kinds_become_one() -> None:
    """The body's CR, LF and CRLF are the line ends of the policy; no bare CR or LF is left."""
    rendered = EmailMessage("s", "a\rb\nc\r\nd").message(policy=policy.SMTP).as_bytes()
    assert rendered.endswith(b"\r\n\r\na\r\nb\r\nc\r\nd\r\n")


def test_a_from_at_the_start_of_a_line_stays() -> None:
    """There is no ">From", which is for mbox files."""
    assert b"\nFrom here on\n" in EmailMessage("s", "x\nFrom here on").message().as_bytes()


def test_a_byte_order_mark_goes_through_base64() -> None:
    """utf-8-sig puts bytes before the text that are no text: base64, as Django 5.2 has it."""
    message = EmailMessage("s", "Grüße")
    message.encoding = "utf-8-sig"
    assert message.message()["Content-Transfer-Encoding"] == "base64"
    assert read(message).get_content() == "Grüße"


def test_a_character_that_can_not_be_written_is_an_error_that_says_in_what() -> None:
    """Whether in the body, in another version of it, or in an attachment, and whose."""

    def letter() -> EmailMultiAlternatives:
        return EmailMultiAlternatives("s", "b", "a@example.com", ["b@example.com"])

    body, alternative, content, name, charset = (letter() for _ in range(5))
    body.body = "half a \ud800"
    alternative.attach_alternative("<p>\ud800", "text/html")
    content.attach("notes.txt", "\ud800", "text/plain")
    name.attach("\ud800.txt", "notes", "text/plain")
    charset.encoding, charset.body = "latin-1", "5 €"
    expected = {
        "in the body": body,
        "in the alternative 'text/html'": alternative,
        "in the attachment 'notes.txt'": content,
        r"in the attachment '\\ud800.txt'": name,
        "'latin-1' codec .*in the body": charset,
    }
    for said, message in expected.items():
        with pytest.raises(UnicodeEncodeError, match=said):
            message.message()
