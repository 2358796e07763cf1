"""The fast path writes the bytes that `message()` leads to, or nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from email.message import MIMEPart
from email.mime.image import MIMEImage
from email.policy import compat32
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from mailqueue import EmailMessage, EmailMultiAlternatives
from mailqueue.mail.rendering import simple as fastpath
from mailqueue.mail.rendering.proof import is_sound
from mailqueue.mail.rendering.render import built_bytes, rendered_bytes
from mailqueue.mail.rendering.simple import write
from mailqueue.queue import payload
from mailqueue.queue.payload.blob import BlobCache, BlobCollector
from tests import profiles
from tests.contracts.samples import HEADERS

ROOT = Path(__file__).parents[2]
TEXT = "All the news.\n" * 20
HTML = "<p>All the <b>news</b>.</p>\n" * 20


@pytest.mark.parametrize("family", ["mailqueue", "django"])
def test_any_message_has_the_same_bytes(family: str, pytestconfig: pytest.Config) -> None:
    """Property test: whatever it writes is right, and what it calls sound can be built."""
    result = subprocess.run(
        [
            *(sys.executable, "-W", "error", "-m", "tests.contracts.samebytes"),
            *(family, *profiles.of(pytestconfig)),
        ],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-6000:]
    assert "'examples': " in result.stdout


def letter(kind: Any = EmailMessage, **changes: Any) -> Any:
    values = {"subject": "News", "body": TEXT, "from_email": "Ann <ann@example.com>"}
    message = kind(**{**values, "to": ["bob@example.com"], "headers": HEADERS, **changes})
    return payload.loads(payload.dumps(message, "id"))


def html_only() -> Any:
    message = letter(body=HTML)
    message.content_subtype = "html"
    return message


def text_and_html() -> Any:
    return letter(EmailMultiAlternatives, alternatives=[(HTML, "text/html")])


def with_attachments() -> Any:
    files = [
        ("a.pdf", b"%PDF" * 100, None),
        ("notes.txt", "Grüße", None),
        (None, b"x", "application/x"),
    ]
    return letter(EmailMultiAlternatives, alternatives=[(HTML, "text/html")], attachments=files)


def logo(content: bytes = b"\x89PNG" * 100, **options: Any) -> MIMEPart:
    part = MIMEPart()
    options = {"disposition": "inline", "cid": "<logo>", **options}
    part.set_content(content, maintype="image", subtype="png", **options)
    return part


def text_part(**options: Any) -> MIMEPart:
    part = MIMEPart()
    part.set_content("Grüße\n", **options)
    return part


def newsletter(**options: Any) -> Any:
    return letter(
        EmailMultiAlternatives, alternatives=[(HTML, "text/html")], attachments=[logo(**options)]
    )


def related() -> Any:
    message = newsletter(filename="Größe.png")
    message.mixed_subtype = "related"
    return message


SIMPLE: dict[str, Callable[[], Any]] = {
    "plain": letter,
    "HTML only": html_only,
    "text and HTML": text_and_html,
    "attachments": with_attachments,
    "an attachment alone": lambda: letter(body="", attachments=[("a.pdf", b"%PDF", None)]),
    "outside ASCII": lambda: letter(subject="Grüße", body="Grüße\n" * 20),
    "long lines": lambda: letter(body="A long line. " * 20),
    "8 bit in long lines": lambda: letter(body="漢字" * 200),
    "many recipients": lambda: letter(to=[f"Bob {n} <b{n}@example.com>" for n in range(20)]),
    "names": lambda: letter(cc=['"Doe, Jane" <j@example.com>', "Jürgen <j@bücher.example>"]),
    "extra headers": lambda: letter(
        headers={"List-Unsubscribe": "<https://example.com/u/1>", "Reply-To": "a@b.example"}
        | HEADERS
    ),
    "a long header": lambda: letter(headers={"X-Note": "word " * 40} | HEADERS),
    "an invitation": lambda: letter(
        EmailMultiAlternatives, alternatives=[("BEGIN:VCALENDAR", "text/calendar; method=REQUEST")]
    ),
    "a logo within": newsletter,
    "a logo within, related": related,
    "a part alone": lambda: letter(body="", attachments=[logo()]),
    "a text as a part": lambda: letter(attachments=[text_part(disposition="attachment")]),
    "a part of 8 bit": lambda: letter(attachments=[text_part(cte="8bit")]),
    "parts and files": lambda: letter(attachments=[("a.pdf", b"%PDF", None), logo(), text_part()]),
    "nothing": lambda: letter(subject="", body=""),
    "another charset": lambda: letter(body="Grüße"),
}


@pytest.mark.parametrize("way", [{}, {"seven_bit": True}, {"utf8": True}], ids=str)
@pytest.mark.parametrize("shape", SIMPLE)
def test_the_usual_shapes_take_the_fast_path(shape: str, way: dict[str, bool]) -> None:
    """They are written there, twice the same, and as message() has them."""
    message = SIMPLE[shape]()
    message.encoding = "iso-8859-1" if shape == "another charset" else None
    fast = write(message, "id", **way)
    assert fast == write(message, "id", **way)
    assert fast == built_bytes(message, "id", **way)
    assert fast != write(message, "another", **way) or b"multipart" not in fast


@pytest.mark.parametrize("length", [*range(1, 5), *range(60, 90), 997, 998, 999])
def test_every_length_around_the_limit_of_a_line(length: int) -> None:
    """In each field and in the body, where a character more makes Python fold or encode."""
    word = "x" * length
    message = letter(
        EmailMultiAlternatives,
        subject=word,
        body=word,
        alternatives=[(f"{word}\n{word[1:]}", "text/html")],
        from_email=f"{word} <a@example.com>",
        to=[f"{word[:900]}@example.com", f'"{word}, x" <b@example.com>'],
        headers={**HEADERS, "Message-ID": f"<{word[:900]}@example.com>", "X-Note": f"a {word}"},
        attachments=[(f"{word}.pdf", word.encode(), "application/pdf"), (word, word, "text/plain")],
    )
    assert is_sound(message)
    assert write(message, "id") == built_bytes(message, "id")


class Welcome(EmailMessage):
    """Says the same each time, and builds it as its base does."""

    content_subtype = "html"

    def __init__(self, name: str) -> None:
        super().__init__("Welcome", f"<p>Welcome, {name}</p>", to=["a@b.c"], headers=HEADERS)


class Invoice(EmailMessage):
    """Builds its message in a way of its own."""

    def message(self, **options: Any) -> Any:
        return super().message(**options)


def changed(**attributes: Any) -> Any:
    message = letter()
    for name, value in attributes.items():
        setattr(message, name, value)
    return message


def odd_part(change: Callable[[MIMEPart], object]) -> Any:
    part = logo()
    change(part)
    return changed(attachments=[part])


class Stamped(MIMEPart):
    """Has a header that nobody set."""

    def raw_items(self) -> Any:
        return [*super().raw_items(), ("X-Stamp", "now")]


UNUSUAL: dict[str, Callable[[], Any]] = {
    "a class that builds its own": lambda: Invoice(body=TEXT, headers=HEADERS),
    "a method put in its place": lambda: changed(message=lambda: None),
    "a part of the older kind": lambda: changed(attachments=[MIMEImage(b"GIF89a", "gif")]),
    "a part of somebody's class": lambda: changed(attachments=[Stamped()]),
    "a part that holds parts": lambda: odd_part(MIMEPart.make_mixed),
    "a part that holds a message": lambda: odd_part(lambda part: part.set_content(MIMEPart())),
    "a part with a header as it came": lambda: odd_part(lambda part: part.set_raw("X-A", "b")),
    "a part with two types": lambda: odd_part(
        lambda part: part.set_raw("content-type", part["Content-Type"])
    ),
    "a part by another policy": lambda: odd_part(lambda part: setattr(part, "policy", compat32)),
    "a part of text that was not encoded": lambda: odd_part(lambda part: part.set_payload("é")),
    "a hidden line's end in a part": lambda: odd_part(
        lambda part: part.add_header("X-A", "=?utf-8?q?a=0ABcc:_evil?=")
    ),
    "a forwarded message": lambda: changed(attachments=[(None, letter(), "message/rfc822")]),
    "no Message-ID": lambda: changed(extra_headers={"Date": HEADERS["Date"]}),
    "a name that reads as another": lambda: changed(extra_headers={Header.NOTE: "1"} | HEADERS),
    "two dates": lambda: changed(extra_headers=HEADERS | {"date": HEADERS["Date"]}),
    "a type of its own": lambda: changed(extra_headers=HEADERS | {"Content-Type": "text/plain"}),
    "a signed multipart": lambda: changed(
        mixed_subtype="signed", attachments=[("a", b"a", "application/x")]
    ),
    "a line's end in a header": lambda: changed(subject="a\nBcc: evil@example.com"),
    "a line's end in a name": lambda: changed(extra_headers=HEADERS | {"X\nBcc": "a"}),
    "a line's end in an address": lambda: changed(to=["a@example.com\nBcc: evil@example.com"]),
    "a hidden line's end": lambda: changed(subject="=?utf-8?q?a=0ABcc:_evil?="),
    "half a character": lambda: changed(body="\ud800"),
    "no text": lambda: changed(body=b"bytes"),
    "a string of recipients": lambda: changed(to="ann@example.com"),
}


@pytest.mark.parametrize("shape", UNUSUAL)
def test_the_other_shapes_do_not(shape: str) -> None:
    """There message() decides, and says what is wrong where something is."""
    message = UNUSUAL[shape]()
    assert write(message, "id") is None


@pytest.mark.parametrize("shape", [shape for shape in UNUSUAL if "line's end" in shape])
def test_nothing_is_injected(shape: str) -> None:
    """A header that would be written as several is refused as ever, at send() and on the wire."""
    message = UNUSUAL[shape]()
    assert not is_sound(message)
    with pytest.raises(ValueError, match=r".+"):
        rendered_bytes(message, "id")
    with pytest.raises(ValueError, match=r".+"):
        payload.dumps(message, "id")


def test_a_class_that_replaces_nothing_takes_the_fast_path() -> None:
    """With what it says for all its messages."""
    message = Welcome("Ann")
    assert is_sound(message)
    fast = write(message, "id")
    assert fast == built_bytes(message, "id")
    assert b"text/html" in fast


class Header(str, Enum):  # noqa: UP042 - a StrEnum is written as it compares
    """Names that compare as one thing and are written as another."""

    NOTE = "X-Note"


class Rendered(str):
    """What a template engine gives: text of a class of its own."""

    __slots__ = ()

    def __str__(self) -> str:
        return self


# As Django's lazily translated strings are called, whose class has no other name.
Lazy = type("__proxy__", (), {"__init__": lambda self, text: vars(self).update(text=text),
                              "__str__": lambda self: self.text})  # fmt: skip


@pytest.mark.parametrize("kind", [Rendered, Lazy])
def test_what_templates_and_translations_give_is_text(kind: Any) -> None:
    """It is what nearly all subjects and bodies are."""
    message = EmailMultiAlternatives(kind("News"), kind(TEXT), to=["a@b.c"], headers=HEADERS)
    message.attach_alternative(kind(HTML), "text/html")
    assert is_sound(message)
    assert write(message, "id") == built_bytes(message, "id")


def test_a_message_that_is_sound_is_not_built_to_be_queued(monkeypatch) -> None:
    """Building it takes most of the time of send(), and would only show what is known."""
    built: list[Any] = []
    original = EmailMessage.message

    def message(self: Any, **options: Any) -> Any:
        built.append(self)
        return original(self, **options)

    message.__module__ = EmailMessage.__module__
    monkeypatch.setattr(EmailMessage, "message", message)
    for compose in (text_and_html, with_attachments, newsletter):
        payload.dumps(compose(), "id")
    assert built == []
    odd = Invoice("News", TEXT, to=["bob@example.com"])
    payload.dumps(odd, "id")
    assert len(built) == 1


def test_a_message_method_of_somebody_else_is_heeded(monkeypatch) -> None:
    """A program that replaces message() for all messages means it."""
    message = letter()
    original = EmailMessage.message

    def marked(self: Any, **options: Any) -> Any:
        built = original(self, **options)
        built["X-Marked"] = "yes"
        return built

    monkeypatch.setattr(EmailMessage, "message", marked)
    assert b"X-Marked: yes\r\n" in rendered_bytes(message, "id")


def test_a_shared_attachment_is_encoded_once(monkeypatch) -> None:
    """For all messages of a worker that carry it, whatever else is in them."""
    content = os.urandom(100_000)
    blobs, cache = BlobCollector(1000), BlobCache()
    texts = [
        payload.dumps(
            EmailMessage(f"News {n}", TEXT, to=["b@example.com"], headers=HEADERS,
                         attachments=[(f"{n}.bin", content, "application/x")]),
            str(n),
            blobs,
        )
        for n in range(3)
    ]  # fmt: skip
    encoded: list[Any] = []
    lines = fastpath.base64_lines
    monkeypatch.setattr(
        fastpath, "base64_lines", lambda *given: encoded.append(given) or lines(*given)
    )
    for n, text in enumerate(texts):
        message = payload.loads(text, lambda name: cache.get(name, blobs.contents.get))
        assert rendered_bytes(message, str(n)) == built_bytes(message, str(n))
    assert [given[0] for given in encoded] == [content]


def travelling(part: MIMEPart) -> Callable[[], Any]:
    """What a worker gets, each time as from another message that carries the same part."""
    blobs, cache = BlobCollector(1000), BlobCache()
    message = EmailMessage("News", TEXT, to=["b@x.example"], headers=HEADERS, attachments=[part])
    text = payload.dumps(message, "id", blobs)
    return lambda: payload.loads(text, lambda name: cache.get(name, blobs.contents.get))


def test_a_shared_part_is_written_once(monkeypatch) -> None:
    """However many messages of a worker show the logo, each with a part of its own."""
    load = travelling(logo(os.urandom(100_000)))
    policy = fastpath.policy_for(False, False)
    (one,), (other,) = load().attachments, load().attachments
    first = fastpath._write_part(one, policy)
    monkeypatch.delattr(fastpath, "_flatten")
    again = fastpath._write_part(other, policy)
    assert one is not other
    assert again.head == first.head
    assert again.content[0] is first.content[0]


def test_a_part_that_is_changed_is_written_as_it_is_then() -> None:
    """What is kept of it belongs to what it said before."""
    part = logo(cid="<one>")
    message = changed(attachments=[part])
    assert b"<one>" in (write(message, "id") or b"")
    part.replace_header("Content-ID", "<two>")
    part.set_payload("bmV3\n")
    assert write(message, "id") == built_bytes(message, "id")


def test_a_part_that_is_changed_changes_in_no_other_message() -> None:
    """A backend may do with the parts of a message what it likes, though others carry the same."""
    load = travelling(logo(os.urandom(5000)))
    one, other = load(), load()
    before = built_bytes(other, "id")
    (part,) = one.attachments
    part.replace_header("Content-ID", "<mine>")
    part.set_param("name", "mine.png")
    part.set_payload("bWluZQ==")
    part.policy = compat32
    for message in (other, load()):
        assert write(message, "id") == built_bytes(message, "id") == before
