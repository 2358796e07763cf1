"""Finished parts and whole messages as attachments: they arrive as they are, or are refused."""

from __future__ import annotations

import email.message
import email.utils
from email import message_from_bytes, policy
from email.header import Header
from email.message import MIMEPart
from email.mime.image import MIMEImage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

import pytest

from mailqueue import EmailMessage, EmailMultiAlternatives
from mailqueue.errors import BadHeaderError
from tests.mail.attaching import parts, with_part


def inline_image(data: bytes, cid: str) -> MIMEPart:
    """An image that the HTML refers to."""
    part = MIMEPart()
    part.set_content(data, maintype="image", subtype="png", disposition="inline", cid=cid)
    return part


def test_a_part_is_attached_as_it_is() -> None:
    """An inline image keeps its Content-ID and disposition."""
    cid = email.utils.make_msgid()
    message = EmailMultiAlternatives("s", "b")
    message.attach(inline_image(b"\x89PNG", cid))
    message.attach_alternative(f'<img src="cid:{cid[1:-1]}">', "text/html")
    found = message_from_bytes(message.message().as_bytes(), policy=policy.default)
    (image,) = (part for part in found.walk() if part.get_content_type() == "image/png")
    assert (image["Content-ID"], image.get_content_disposition()) == (cid, "inline")
    assert image.get_content() == b"\x89PNG"


def test_a_part_in_the_list_of_attachments() -> None:
    """MIMEPart objects may be given to the constructor."""
    part = inline_image(b"x", "<a@b>")
    assert EmailMessage(attachments=[part]).attachments == [part]


def test_a_part_takes_no_other_arguments() -> None:
    """Content and type are the part's own."""
    with pytest.raises(ValueError, match="content and mimetype must not be given"):
        EmailMessage().attach(inline_image(b"x", "<a@b>"), None, "image/png")


def test_an_old_part_is_attached_with_a_warning() -> None:
    """MIMEBase still works, with all its headers, and warns."""
    image = MIMEImage(b"\x89PNG", "png")
    image["Content-ID"] = "<logo>"
    message = EmailMessage("s", "b")
    with pytest.warns(DeprecationWarning, match="MIMEBase attachments are deprecated"):
        message.attach(image)
    (part,) = parts(message)
    assert (part["Content-ID"], part.get_content()) == ("<logo>", b"\x89PNG")


def python_message() -> email.message.EmailMessage:
    """A message of Python's modern class."""
    message = email.message.EmailMessage()
    message["Subject"] = "inner ü"
    message.set_content("Grüße")
    return message


WRITTEN = "Subject: =?utf-8?q?inner_=C3=BC?=\nContent-Type: text/plain; charset=utf-8\n\nGrüße"


def old_python_message() -> MIMEText:
    """A message of Python's older class, with a header that is not ASCII."""
    message = MIMEText("Grüße", _charset="utf-8")
    message["Subject"] = "inner ü"
    return message


@pytest.mark.parametrize(
    "content",
    [
        EmailMessage("inner ü", "Grüße"),
        python_message(),
        old_python_message(),
        WRITTEN,
        WRITTEN.encode(),
    ],
    ids=["ours", "python", "old python", "text", "bytes"],
)
def test_a_message_can_be_attached(content) -> None:
    """message/rfc822 from each kind of message, readable in the mail: never base64 (RFC 2046)."""
    message = EmailMessage("s", "b", attachments=[("m.eml", content, "message/rfc822")])
    rendered = message.message().as_bytes()
    found = message_from_bytes(rendered, policy=policy.default)
    (part,) = (part for part in found.walk() if part.get_content_type() == "message/rfc822")
    assert part["Content-Transfer-Encoding"] == "8bit"
    inner = part.get_payload(0)
    assert inner["Subject"] == "inner ü"
    assert "Grüße" in inner.get_content()


def test_a_delivery_report_can_be_attached() -> None:
    """The other message types keep their text."""
    report = "Reporting-MTA: dns; mail.example.com\n\nFinal-Recipient: rfc822; ann@example.com\n"
    message = EmailMessage("s", "b", attachments=[("r", report, "message/delivery-status")])
    assert report.encode() in message.message().as_bytes()


def test_attachments_are_added_anew_each_time() -> None:
    """Building a message twice gives the same parts twice, not twice the parts."""
    message = EmailMessage("s", "b", attachments=[("a", b"1"), inline_image(b"x", "<a@b>")])
    assert len(list(message.message().walk())) == len(list(message.message().walk())) == 4


def test_a_newline_hidden_in_a_given_part_is_found() -> None:
    """A part that the caller made is written by us as well."""
    part = inline_image(b"x", "<a@b>")
    part.replace_header("Content-Disposition", 'inline; filename="=?utf-8?q?a=0AX=3Ay?="')
    with pytest.raises(BadHeaderError, match="Content-Disposition"):
        EmailMessage("s", "b", attachments=[part]).message()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Content-Description", "=?utf-8?q?a=0AX=3Ay?="),
        ("X-Thing", "=?utf-8?b?YQpCY2M6IHg=?="),
        ("Content-ID", "=?utf-8?q?a=0D?="),
    ],
)
@pytest.mark.parametrize("kind", ["new", "old", "nested"])
def test_a_newline_hidden_in_any_header_of_a_part_is_found(name, value, kind) -> None:
    """Some releases of Python write it out, and the part has a header that nobody gave it."""
    part = MIMEImage(b"x", "png") if kind == "old" else inline_image(b"x", "<a@b>")
    del part[name]
    part[name] = value
    if kind == "nested":
        inner, part = part, MIMEPart()
        part.make_related()
        part.attach(inner)
    message = EmailMessage("s", "b")
    message.attachments.append(part)
    with pytest.raises(BadHeaderError, match=name):
        message.message()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Content-ID", "a\rX: y"),
        ("Content-ID", "a\nX: y"),
        ("X\nBcc", "y"),
        ("Content-Disposition", "inline; filename*=utf-8''a%0AX%3Ay"),
    ],
)
def test_an_old_part_is_checked_too(name, value) -> None:
    """MIMEBase takes any newline, in a name too, and an encoded one in a parameter."""
    image = MIMEImage(b"x", "png")
    image[name] = value
    message = EmailMessage("s", "b")
    message.attachments.append(image)
    with pytest.raises(BadHeaderError, match=r"linefeed|printable ASCII"):
        message.message()


def test_a_folded_header_of_a_part_is_no_injection() -> None:
    """A newline before a space is how a long header is written, not the end of one."""
    image = MIMEImage(b"x", "png")
    image["X-Long"] = "one\n two\r\n\tthree"
    message = EmailMessage("s", "b")
    message.attachments.append(image)
    assert parts(message)[0]["X-Long"].split() == ["one", "two", "three"]


def test_a_forwarded_message_is_not_judged() -> None:
    """What somebody else wrote is passed on as he wrote it."""
    written = 'Content-Type: text/plain; name="=?utf-8?q?a=0Ab?="\nSubject: s\n\nb\n'
    message = EmailMessage("s", "b", attachments=[("m.eml", written, "message/rfc822")])
    assert b'name="=?utf-8?q?a=0Ab?="\n' in message.message().as_bytes()


def test_an_old_message_is_no_part() -> None:
    """A plain Message is refused, however it comes; forwarding it is an attachment of a type."""
    old = email.message.Message()
    message = EmailMessage("s", "b")
    with pytest.raises(ValueError, match="message/rfc822"):
        message.attach(old)
    with pytest.raises(ValueError, match="message/rfc822"):
        EmailMessage(attachments=[old])
    message.attachments.append(old)
    with pytest.raises(ValueError, match="message/rfc822"):
        message.message()


def test_an_old_part_takes_no_other_arguments() -> None:
    """The error names the class that was given."""
    with pytest.raises(ValueError, match="when a MIMEBase instance is provided"):
        EmailMessage().attach(MIMEImage(b"x", "png"), "x")


@pytest.mark.parametrize("kind", [EmailMessage, EmailMultiAlternatives])
def test_the_warning_of_an_old_part_points_at_the_caller(kind) -> None:
    """By attach() and by the constructor: the line to be changed is the one in the warning."""
    with pytest.warns(DeprecationWarning, match="MIMEBase") as warned:
        kind().attach(MIMEImage(b"x", "png"))
    with pytest.warns(DeprecationWarning, match="MIMEBase") as warned_by_constructor:
        kind(attachments=[MIMEImage(b"x", "png")])
    assert [w.filename for w in [*warned, *warned_by_constructor]] == [__file__] * 2


@pytest.mark.parametrize("value", ["Grüße", "Grüße an alle " * 20, Header("Grüße", "iso-8859-1")])
@pytest.mark.parametrize("nested", [False, True])
def test_a_header_of_an_old_part_outside_ascii_is_encoded(value, nested) -> None:
    """As Python's older policy does, and Django did before 6.0; what was given stays as it is."""
    given = MIMEText("text")
    given["Content-Description"] = value
    whole = MIMEMultipart(_subparts=[given]) if nested else given
    (part,) = parts(with_part(whole))
    read = next(part.iter_parts()) if nested else part
    assert read["Content-Description"].strip() == str(value).strip()
    assert read.get_content() == "text"
    assert given["Content-Description"] is value


def test_a_file_name_of_an_old_part_outside_ascii_is_encoded() -> None:
    """As a parameter is (RFC 2231)."""
    given = MIMEText("text")
    given["Content-Disposition"] = 'attachment; filename="Grüße.txt"'
    (part,) = parts(with_part(given))
    assert part.get_filename() == "Grüße.txt"
    assert b"filename*=utf-8''Gr%C3%BC%C3%9Fe.txt" in with_part(given).message().as_bytes()


@pytest.mark.parametrize("kind", [MIMEPart, lambda: MIMEText("x")])
@pytest.mark.parametrize("payload", [5, ["text"]])
def test_a_part_whose_payload_cannot_be_written_is_refused(kind, payload) -> None:
    """TypeError when the message is built, with the name of the attachment."""
    part = kind()
    part.add_header("Content-Disposition", "attachment", filename="a.txt")
    part.set_payload(payload)
    for given in (part, MIMEMultipart(_subparts=[part])):
        with pytest.raises(TypeError, match=r"a\.txt: the payload of a part must be text or"):
            with_part(given).message()


def test_parts_too_deep_to_be_written_are_refused() -> None:
    """ValueError when the message is built, not RecursionError when it is delivered."""
    deep = MIMEText("x")
    for _ in range(400):
        deep = MIMEMultipart(_subparts=[deep])
    with pytest.raises(ValueError, match="nested 100 deep"):
        with_part(deep).message()
