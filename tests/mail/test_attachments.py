"""Attachments that are a name, a content and a type: triples, named tuples, files."""

from __future__ import annotations

import email.message
import email.utils
import io
import random
from email import policy
from email.contentmanager import ContentManager, raw_data_manager
from pathlib import Path

import pytest

from mailqueue import EmailAttachment, EmailMessage, EmailMultiAlternatives
from mailqueue.errors import BadHeaderError
from tests.mail.attaching import parts, with_part


def attached(*arguments):
    """The one attachment that a reader finds after ``attach(*arguments)``."""
    message = EmailMessage("s", "body")
    message.attach(*arguments)
    (part,) = parts(message)
    return part


@pytest.mark.parametrize(
    "given",
    [
        ("a.txt", "text", "text/plain"),
        ("a.txt", "text"),
        ["a.txt", "text", None],
        EmailAttachment("a.txt", "text", "text/plain"),
    ],
)
def test_attachments_are_named_tuples(given) -> None:
    """Tuples of two or three, lists and EmailAttachments all become EmailAttachment."""
    (attachment,) = EmailMessage(attachments=[given]).attachments
    assert attachment == EmailAttachment(filename="a.txt", content="text", mimetype="text/plain")
    assert attachment.filename == attachment[0]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("design.png", b"\x89PNG", "image/png"),
        ("notes.txt", "text", "text/plain"),
        ("page.html", "<p>", "text/html"),
        ("file.pdf", b"%PDF", "application/pdf"),
        ("nothing", b"\x00", "application/octet-stream"),
        (None, b"\x00", "application/octet-stream"),
    ],
)
def test_the_type_is_guessed_from_the_name(name, content, expected) -> None:
    """Without a MIME type the name decides, and an unknown name is a stream of bytes."""
    part = attached(name, content)
    assert (part.get_content_type(), part.get_filename()) == (expected, name)


def test_binary_content_arrives_as_it_was() -> None:
    """Every byte comes through."""
    data = bytes(range(256)) * 20
    assert attached("a.bin", data, "application/x-thing").get_content() == data


@pytest.mark.parametrize("size", [0, 1, 56, 57, 58, 114, 1000, 100_000])
@pytest.mark.parametrize("limit", [78, 40, 200])
def test_binary_content_is_encoded_as_python_does(size, limit) -> None:
    """The lines of base64 are those of Python's own content manager, which is slower."""
    data, options = random.Random(size).randbytes(size), {"maintype": "a", "subtype": "b"}
    chosen = policy.default.clone(max_line_length=limit)
    ours = EmailMessage("s", "b", attachments=[("a.bin", data, "a/b")]).message(policy=chosen)
    pythons = email.message.EmailMessage(policy=chosen)
    pythons.add_attachment(data, filename="a.bin", **options)
    assert next(iter(ours.iter_attachments())).as_bytes() == pythons.get_payload(0).as_bytes()


def test_a_content_manager_of_ones_own_encodes() -> None:
    """A policy that has one decides how bytes are written."""

    class Manager(ContentManager):
        def set_content(self, message, content, *args, **options):
            raw_data_manager.set_content(message, content, *args, **options)
            if isinstance(content, bytes):
                message["X-Size"] = str(len(content))

    chosen = policy.default.clone(content_manager=Manager())
    built = EmailMessage("s", "b", attachments=[("a.bin", b"123")]).message(policy=chosen)
    assert [part["X-Size"] for part in built.iter_attachments()] == ["3"]


def test_binary_text_is_decoded() -> None:
    """UTF-8 for text/*: content is text from then on."""
    message = EmailMessage()
    message.attach("a.txt", "Grüße".encode(), "text/plain")
    assert message.attachments[0].content == "Grüße"


def test_text_that_is_not_utf8_becomes_a_stream_of_bytes() -> None:
    """The bytes arrive unchanged, as application/octet-stream."""
    part = attached("a.txt", b"Gr\xfc\xdfe", "text/plain")
    assert (part.get_content_type(), part.get_content()) == (
        "application/octet-stream",
        b"Gr\xfc\xdfe",
    )


def test_text_for_a_binary_type_is_utf8() -> None:
    """A string with a type that isn't text is encoded."""
    assert attached("a.json", '{"a": "ü"}', "application/json").get_content() == (
        '{"a": "ü"}'.encode()
    )


def test_a_type_may_have_parameters() -> None:
    """A calendar invitation keeps its method."""
    part = attached("i.ics", "BEGIN:VCALENDAR", "text/calendar; method=REQUEST")
    assert part.get_content_type() == "text/calendar"
    assert part["Content-Type"].params["method"] == "REQUEST"


def test_content_is_required() -> None:
    """An attachment of nothing is a mistake; one of no bytes is an empty file."""
    with pytest.raises(ValueError, match=r"content must be provided\."):
        EmailMessage().attach("a.txt")
    assert attached("a.bin", b"").get_content() == b""


def test_a_type_without_a_slash_is_refused() -> None:
    """The error comes where the mistake is, and shows it."""
    with pytest.raises(ValueError, match="mimetype must look like 'text/plain', not 'pdf'"):
        EmailMessage().attach("a", b"x", "pdf")


def test_a_string_for_the_list_is_refused() -> None:
    """It is shown whole, not the first of its letters."""
    with pytest.raises(TypeError, match=r"must be a list .* not 'a\.txt'"):
        EmailMessage(attachments="a.txt")


@pytest.mark.parametrize("wrong", ["a.txt", None, 3])
def test_something_else_in_the_list_is_refused(wrong) -> None:
    """What is neither tuple nor part is a TypeError that shows it."""
    with pytest.raises(TypeError, match=f"not {wrong!r}"):
        EmailMessage(attachments=[wrong])


@pytest.mark.parametrize(
    "name", ["Grüße.pdf", "漢字" * 40 + ".pdf", 'a"b\\.pdf', "a b " * 40 + "c"]
)
def test_names_of_all_kinds_survive(name) -> None:
    """Names outside ASCII, long names and quotes are read back."""
    assert attached(name, b"x", "application/pdf").get_filename() == name


@pytest.mark.parametrize("end", ["\n", "\u2028"])
def test_a_newline_in_a_name_is_refused(end) -> None:
    """A file name is a header's value too."""
    message = EmailMessage(attachments=[(f"a{end}Bcc: x@y.z", b"x", "image/png")])
    with pytest.raises(ValueError, match="Content-Disposition"):
        message.message()


def test_two_of_one_name_are_both_there() -> None:
    """Nothing is keyed by the name."""
    message = EmailMessage("s", "b", attachments=[("a.bin", b"1"), ("a.bin", b"2")])
    assert [part.get_content() for part in parts(message)] == [b"1", b"2"]


def test_an_attachment_without_a_body() -> None:
    """There is no empty text before it, and the message says that it is MIME."""
    message = EmailMessage("s", "", attachments=[("a.bin", b"1")])
    built = message.message()
    assert (built["MIME-Version"], built.get_content_type()) == ("1.0", "multipart/mixed")
    assert [part.get_content() for part in parts(message)] == [b"1"]


def test_attach_file(tmp_path) -> None:
    """A file is attached under its own name, with its type guessed or given."""
    path = tmp_path / "weather_map.png"
    path.write_bytes(b"\x89PNG")
    message = EmailMessage("s", "b")
    message.attach_file(str(path))
    message.attach_file(path, "image/x-map")
    assert message.attachments == [
        ("weather_map.png", b"\x89PNG", "image/png"),
        ("weather_map.png", b"\x89PNG", "image/x-map"),
    ]


def test_attach_file_treats_text_like_attach(tmp_path) -> None:
    """Text is decoded if it is UTF-8, and else a stream of bytes."""
    good, bad = tmp_path / "good.txt", tmp_path / "bad.txt"
    good.write_bytes("ü".encode())
    bad.write_bytes(b"\xfc")
    message = EmailMessage()
    message.attach_file(good)
    message.attach_file(bad)
    assert message.attachments == [
        ("good.txt", "ü", "text/plain"),
        ("bad.txt", b"\xfc", "application/octet-stream"),
    ]


def test_a_missing_file_is_an_error(tmp_path) -> None:
    """The OSError of the file system, at once."""
    with pytest.raises(FileNotFoundError, match=r"nothing\.txt"):
        EmailMessage().attach_file(tmp_path / "nothing.txt")


def test_a_subclass_may_choose_the_multipart_type() -> None:
    """mixed_subtype was there before Django 6, and still is here."""

    class Related(EmailMessage):
        mixed_subtype = "related"

    built = Related("s", "b", attachments=[("a.png", b"1"), ("b.png", b"2")]).message()
    assert [part.get_content_type() for part in built.walk()] == [
        "multipart/related",
        "text/plain",
        "image/png",
        "image/png",
    ]


def test_attachments_put_into_the_list_by_hand() -> None:
    """A plain tuple appended to ``attachments`` is treated like one that was given."""
    message = EmailMessage("s", "b")
    message.attachments.append(("a.txt", b"\xff", None))
    (part,) = parts(message)
    assert (part.get_content_type(), part.get_content()) == ("application/octet-stream", b"\xff")


@pytest.mark.parametrize(
    ("given", "header"),
    [
        (("=?utf-8?q?a=0AX=3Ay?=.txt", "x"), "Content-Disposition"),
        (("=?utf-8?q?a=0DX=3Ay?=.bin", b"x"), "Content-Disposition"),
        (("a.bin", b"x", 'application/x; name="=?utf-8?q?a=0D=0A=0D=0Ab?="'), "Content-Type"),
        (("a.txt", "x", 'text/x; name="=?utf-8?q?a=0Ab?="'), "Content-Type"),
    ],
)
def test_a_newline_hidden_in_a_parameter_is_found(given, header) -> None:
    """An encoded word in a file name or type brings no header into the part."""
    message = EmailMessage("s", "b", attachments=[given])
    with pytest.raises(BadHeaderError, match=header):
        message.message()


@pytest.mark.parametrize("content", [io.StringIO("text"), io.BytesIO(b"bytes")])
def test_a_file_object_is_no_content(content) -> None:
    """It is a TypeError that shows what was given; its repr() is never mailed."""
    for name in ("a.txt", "a.bin", "m.eml"):
        with pytest.raises(TypeError, match="must be text or bytes, not <_io"):
            EmailMessage().attach(name, content)
    with pytest.raises(TypeError, match="must be text or bytes, not <_io"):
        EmailMessage("s", content).message()


@pytest.mark.parametrize(
    "content", [["text"], {"a": 1}, object(), Path("a.txt"), EmailMessage("s", "b")]
)
@pytest.mark.parametrize("name", ["a.txt", "a.bin"])
def test_what_has_no_text_form_is_no_content(content, name) -> None:
    """Lists, paths and other objects are a TypeError too: only their repr() could be mailed."""
    with pytest.raises(TypeError, match="content must be text or bytes, not "):
        EmailMessage().attach(name, content)
    with pytest.raises(TypeError, match="content must be text or bytes, not "):
        EmailMessage("s", content).message()


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_of_all_kinds_are_text(kind) -> None:
    """A body or an alternative of bytes is UTF-8, however the bytes come."""
    content = kind("Grüße".encode())
    message = EmailMultiAlternatives("s", content, alternatives=[(content, "text/html")])
    bodies = [message.message().get_body((form,)).get_content() for form in ("plain", "html")]
    assert bodies == ["Grüße\n"] * 2


@pytest.mark.parametrize("content", [None, io.BytesIO(b"bytes")])
def test_no_content_in_the_list_by_hand(content) -> None:
    """What went past attach() is found when the message is built."""
    message = EmailMessage("s", "b")
    message.attachments.append(("a.txt", content, "text/plain"))
    with pytest.raises(TypeError, match="content must be text or bytes"):
        message.message()


def test_a_file_name_of_bytes_is_refused() -> None:
    """Nobody knows its charset: TypeError that shows it."""
    with pytest.raises(TypeError, match=r"filename must be a string, not b'a\.txt'"):
        EmailMessage().attach(b"a.txt", "x", "text/plain")


def test_content_and_name_that_are_no_strings_yet() -> None:
    """Lazily translated names and contents, and numbers, are written as text."""

    class Lazy:
        def __str__(self):
            return "a.txt"

    part = attached(Lazy(), Lazy())
    assert (part.get_filename(), part.get_content()) == ("a.txt", "a.txt\n")
    assert attached("n.txt", 3).get_content() == "3\n"


def test_a_string_in_the_list_by_hand() -> None:
    """It is not taken for a list of letters."""
    message = EmailMessage("s", "b")
    message.attachments.append("a.txt")
    with pytest.raises(TypeError, match=r"must be a tuple .* not 'a\.txt'"):
        message.message()


def test_a_pair_in_the_list_by_hand() -> None:
    """The type is guessed there too."""
    message = EmailMessage("s", "b")
    message.attachments.append(("a.txt", "x"))
    assert parts(message)[0].get_content_type() == "text/plain"


@pytest.mark.parametrize("content", [None, io.BytesIO(b"bytes"), ["text"]])
def test_an_error_names_the_attachment(content) -> None:
    """By its file name, so that it can be found among others."""
    with pytest.raises(TypeError, match=r"a\.txt: content must be text or bytes"):
        with_part(("a.txt", content, "text/plain")).message()


@pytest.mark.parametrize("given", [("a.txt",), ("a.txt", "b", "text/plain", 1), ["a.txt"]])
def test_a_tuple_of_another_length_in_the_list_by_hand(given) -> None:
    """TypeError that shows it."""
    with pytest.raises(TypeError, match=r"must be a tuple .* not .'a\.txt'"):
        with_part(given).message()
