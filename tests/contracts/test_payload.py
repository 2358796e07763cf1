"""What goes into the queue comes out of it: our classes here, Django's in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zlib
from base64 import b64encode
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from email.charset import Charset
from pathlib import Path
from types import SimpleNamespace

import pytest

from mailqueue import EmailMessage, EmailMultiAlternatives, configure
from mailqueue.errors import PayloadError
from mailqueue.mail.rendering.render import rendered_bytes
from mailqueue.queue import payload
from tests import profiles
from tests.contracts import samples

ROOT = Path(__file__).parents[2]


def run_python(*arguments: str) -> str:
    """Run Python in the repository, with warnings as errors; return what it printed."""
    result = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-6000:]
    return result.stdout


@pytest.mark.parametrize("family", ["mailqueue", "django"])
def test_any_message_survives_the_queue(family, pytestconfig):
    """Property test: the same bytes and recipients for whatever hypothesis can build."""
    arguments = [family, *profiles.of(pytestconfig)]
    assert "examples passed" in run_python("-m", "tests.contracts.roundtrip", *arguments)


def test_anymails_attributes_survive_the_queue():
    """Each that django-anymail documents, by name, read as Anymail's own backends read them."""
    assert "13 attributes carried" in run_python("-m", "tests.contracts.anymail")


class Invoice(EmailMultiAlternatives):
    """A class that builds its message in a way of its own."""

    def message(self, **options):
        built = super().message(**options)
        built["X-Invoice"] = "17"
        return built

    def recipients(self):
        return [*super().recipients(), "archive@example.com"]


class Reminder(EmailMessage):
    """A class that is to be rebuilt as what it is."""

    mailqueue_class = f"{__name__}.Reminder"

    def message(self, **options):
        built = super().message(**options)
        built["X-Days-Late"] = str(self.days_late)
        return built


def letter(kind=EmailMessage, **changes):
    values = {"subject": "Hello", "body": "A letter", "from_email": "me@example.com"}
    return kind(**{**values, "to": ["you@example.com"], **changes})


def through(message):
    return payload.loads(payload.dumps(message, "id"))


def test_a_class_that_overrides_message_travels_as_it_was_built():
    """Its bytes and its envelope arrive; the worker needn't have the class."""
    message = letter(
        Invoice, headers={"Message-ID": "<a@b>", "Date": "Thu, 01 Jan 1970 00:00:00 +0000"}
    )
    again = through(message)
    assert again.recipients() == ["you@example.com", "archive@example.com"]
    assert again.from_email == "me@example.com"
    assert rendered_bytes(again, "id") == rendered_bytes(message, "id")
    assert b"X-Invoice: 17" in rendered_bytes(again, "id")


def test_a_charset_object_travels_as_it_was_built():
    """How a Charset encodes has no form in JSON, but its result has."""
    message = letter(body="Gr\u00fc\u00dfe")
    message.encoding = Charset("iso-8859-1")
    message.extra_headers = {"Message-ID": "<a@b>", "Date": "Thu, 01 Jan 1970 00:00:00 +0000"}
    assert rendered_bytes(through(message), "id") == rendered_bytes(message, "id")


def test_a_named_class_is_rebuilt_as_what_it_is(monkeypatch):
    """With its attributes, so that its own message() runs in the worker."""
    monkeypatch.setitem(sys.modules, __name__, sys.modules[Reminder.__module__])
    message = letter(Reminder)
    message.days_late = 3
    again = through(message)
    assert type(again) is Reminder
    assert again.message()["X-Days-Late"] == "3"


@pytest.mark.parametrize("path", ["nowhere.Nothing", "json.JSONDecoder", "Reminder", ""])
def test_a_name_that_does_not_lead_to_the_class_is_an_error(path):
    """In the caller, and, for a payload that names something else, in the worker."""
    message = letter(Reminder)
    message.days_late = 3
    message.mailqueue_class = path or "."
    with pytest.raises(PayloadError, match="class"):
        payload.dumps(message, "id")
    found = json.loads(payload.dumps(letter(), "id"))
    with pytest.raises(PayloadError, match="class"):
        payload.loads(json.dumps(found | {"class": path}))


@pytest.mark.parametrize(
    "value",
    [None, True, 17, 2**70, 1.5, "text", "half a \ud83d", [1, [2]], {"a": {"b": None}},
     datetime(2026, 11, 21, 9, 30), datetime(2026, 11, 21, 9, 30, tzinfo=UTC),
     date(2026, 11, 21), timedelta(minutes=90),
     Decimal("17.50"), (1, "two"), {"$date": "not one of ours"}, {"$object": {"$tuple": 1}}],
    ids=repr,
)  # fmt: skip
def test_attributes_travel_by_themselves(value):
    """What JSON knows, and dates, times and decimals; nobody has to list them."""
    message = letter()
    message.metadata = value
    again = through(message).metadata
    assert (again, type(again)) == (value, type(value))


@pytest.mark.parametrize(
    "value",
    [{1: "a"}, object(), b"bytes", {1, 2}, float("nan")],
    ids=["a number for a key", "an object", "bytes", "a set", "no number"],
)
def test_what_can_not_be_carried_is_an_error_that_names_the_attribute(value):
    """At send(), not in a worker."""
    message = letter()
    message.metadata = value
    with pytest.raises(PayloadError, match="the attribute 'metadata' can't be queued"):
        payload.dumps(message, "id")


@pytest.mark.parametrize("name", ["content_subtype", "mixed_subtype"])
def test_a_word_that_is_none_is_an_error_that_names_it(name):
    """It would be another one when it is read."""
    message = letter()
    message.attach("a.txt", "A", "text/plain")
    setattr(message, name, b"plain")
    with pytest.raises(PayloadError, match=f"the message's {name} can't be queued: .* not bytes"):
        payload.dumps(message, "id")


def test_an_attachment_that_can_not_be_carried_is_named():
    """Its name stands in the error."""
    message = letter()
    message.attachments.append(("a.txt", object(), "text/plain"))
    with pytest.raises(TypeError, match=r"^a\.txt: content must be text or bytes"):
        payload.dumps(message, "id")
    message.attachments[0] = ("b.txt", 17, "text/plain")
    with pytest.raises(PayloadError, match=r"the attachment 'b\.txt' can't be queued"):
        payload.dumps(message, "id")


def date_of(message: EmailMessage) -> str:
    found: str = json.loads(payload.dumps(message, "id"))["headers"]["Date"]
    return found


def test_the_date_is_that_of_the_second(monkeypatch):
    """Each message has its own, in UTC."""
    now = [0.0]
    monkeypatch.setattr("mailqueue.queue.payload.dump.time", SimpleNamespace(time=lambda: now[0]))
    assert date_of(EmailMessage()) == "Thu, 01 Jan 1970 00:00:00 +0000"
    now[0] = 60.5
    assert date_of(EmailMessage()) == "Thu, 01 Jan 1970 00:01:00 +0000"


def test_the_date_is_in_the_local_zone_of_the_moment(monkeypatch):
    """Where EMAIL_USE_LOCALTIME says so; the zone may be another a moment later."""
    configure(EMAIL_USE_LOCALTIME=True)
    try:
        for zone, offset in {"Asia/Tokyo": "+0900", "America/Lima": "-0500"}.items():
            monkeypatch.setenv("TZ", zone)
            time.tzset()
            assert date_of(EmailMessage()).endswith(f" {offset}")
    finally:
        monkeypatch.undo()
        time.tzset()


FOREIGN_MESSAGE = """
import sys
import django
from django.conf import settings
settings.configure(DEFAULT_CHARSET="utf-8")
from django.core.mail import EmailMessage
from mailqueue import EmailMessage as OurMessage
from mailqueue.queue import payload
class Chosen(EmailMessage):
    def recipients(self):
        return ["chosen@example.com"]
for kind in (EmailMessage, OurMessage, Chosen):
    for end in sys.argv[2]:
        message = kind("Hello", "body", "from@example.com", ["to@example.com"])
        name, value = sys.argv[1], f"a{end}Bcc: victim@example.com"
        if name == "header":
            message.extra_headers["X-Note"] = value
        elif name == "name":
            message.extra_headers[value] = "note"
        else:
            setattr(message, name, value if isinstance(getattr(message, name), str) else [value])
        try:
            payload.dumps(message, "id")
        except ValueError:
            print(f"{end!a} refused")
"""
# All that str.splitlines() takes for the end of a line.
LINE_ENDS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"


@pytest.mark.parametrize(
    "place", ["subject", "from_email", "to", "cc", "reply_to", "header", "name"]
)
def test_no_line_end_is_queued_whosever_class_the_message_is_of(place):
    """Django 5.2 refuses LF and CR only, and would let a parser read a header of its own."""
    refused = run_python("-c", FOREIGN_MESSAGE, place, LINE_ENDS).splitlines()
    assert refused == [f"{end!a} refused" for end in LINE_ENDS] * 3


class Reading(dict):
    """Headers that say one thing when they are looked up, and another when they are listed."""

    def __getitem__(self, name: str) -> str:
        return "harmless"


def test_what_is_looked_at_is_what_is_queued():
    """Whatever kind of mapping the headers are."""
    message = letter()
    message.extra_headers = Reading({"X-Note": "a\nBcc: victim@example.com"})
    with pytest.raises(ValueError, match="linefeed"):
        payload.dumps(message, "id")


def test_what_can_be_read_once_is_left_to_be_read():
    """A message that its class builds may list its Reply-To so."""
    message = Chosen("Hello", "body", "from@example.com", ["to@example.com"])
    message.reply_to = iter(["reply@example.com"])
    again = payload.loads(payload.dumps(message, "id"))
    assert again.message()["Reply-To"] == "reply@example.com"


class Chosen(EmailMessage):
    """Decides by itself who gets it."""

    def recipients(self) -> list[str]:
        return ["chosen@example.com"]


class Signed(EmailMessage):
    """Builds its message, with a header that no one may fold anew."""

    def message(self, **options):
        built = super().message(**options)
        built.policy = built.policy.clone(refold_source="none")
        built.set_raw("DKIM-Signature", "v=1; b=" + "q" * 300)
        return built


class News(EmailMessage):
    """Says one thing for all of its messages."""

    tags = ("news",)


def test_a_class_that_decides_who_gets_it_is_heeded():
    """Its envelope is what its own recipients() says, and not what stands in To."""
    message = Chosen("Hello", "body", "from@example.com", ["customer@example.com"])
    loaded = payload.loads(payload.dumps(message, "id"))
    assert loaded.recipients() == ["chosen@example.com"]
    assert loaded.message()["To"] == "customer@example.com"


def test_what_travels_as_it_was_built_is_not_folded_anew():
    """A signature over its headers stays valid, and what others hung on it comes along."""
    message = Signed("Hello", "body", "from@example.com", ["to@example.com"])
    message.metadata = {"order": 1}
    message.content = "what its class built it from"
    loaded = payload.loads(payload.dumps(message, "id"))
    assert loaded.content == "what its class built it from"
    assert b"DKIM-Signature: v=1; b=" + b"q" * 300 + b"\r\n" in rendered_bytes(loaded, "id")
    assert loaded.metadata == {"order": 1}


def test_what_a_subclass_says_for_all_its_messages_travels(monkeypatch):
    """A class attribute counts as each message's own."""
    message = News("Hello", "body", "from@example.com", ["to@example.com"])
    assert list(payload.loads(payload.dumps(message, "id")).tags) == ["news"]
    monkeypatch.setattr(News, "tags", ("changed",))
    assert list(payload.loads(payload.dumps(message, "id")).tags) == ["changed"]


def test_addresses_that_are_none_are_left_out():
    """As recipients() leaves them out: nobody's name is None."""
    message = EmailMessage("Hello", "body", "from@example.com", ["to@example.com"])
    message.to.append(None)
    assert payload.loads(payload.dumps(message, "id")).to == ["to@example.com"]


@pytest.mark.parametrize(("field", "value"), [("to", [None, 5]), ("body", None), ("subject", 7)])
def test_a_payload_with_values_of_other_types_is_refused(field, value):
    """It would be sent to a mailbox named None."""
    message = EmailMessage("Hello", "body", "from@example.com", ["to@example.com"])
    found = json.loads(payload.dumps(message, "id")) | {field: value}
    with pytest.raises(PayloadError, match="where there must be text"):
        payload.loads(json.dumps(found))


def test_values_that_are_no_text_travel_as_what_they_are_sent_as():
    """Lists of addresses, dates, bytes: the queue makes of them what message() does."""
    message = EmailMessage("Hello", b"bytes", "from@example.com", ["to@example.com"])
    message.extra_headers = {
        "To": ["a@example.com", "b@example.com"],
        "Date": datetime(2026, 11, 21, tzinfo=UTC),
        "X-Note": b"note",
        "X-None": None,
        "Message-ID": "<id@example.com>",
    }
    loaded = payload.loads(payload.dumps(message, "id"))
    assert rendered_bytes(loaded, "id") == rendered_bytes(message, "id")
    assert loaded.body == "bytes"


def test_none_set_later_means_what_it_means_in_the_constructor():
    """A body of None is empty, not the word; a sender of None is DEFAULT_FROM_EMAIL."""
    message = EmailMultiAlternatives("Hello", "body", "from@example.com", ["to@example.com"])
    for name in ("body", "from_email", "cc", "bcc", "reply_to", "attachments", "alternatives"):
        setattr(message, name, None)
    message.extra_headers = None
    loaded = payload.loads(payload.dumps(message, "id"))
    assert (loaded.body, loaded.from_email) == ("", "webmaster@localhost")
    assert (loaded.cc, loaded.attachments, loaded.alternatives) == ([], [], [])
    assert payload.summary(message, message.to)["from"] == "webmaster@localhost"


def test_long_text_is_compressed_and_short_text_is_not():
    """Only where that saves at least a third."""
    short, long = letter(), letter(body="All the news.\n" * 1000)
    assert "zlib" not in json.loads(payload.dumps(short, "id"))
    text = payload.dumps(long, "id")
    assert json.loads(text).keys() == {"v", "id", "zlib"}
    assert len(text) < 1000
    assert payload.loads(text).body == long.body
    noise = letter(body=b64encode(os.urandom(5000)).decode())
    assert "zlib" not in json.loads(payload.dumps(noise, "id"))


def test_a_payload_that_would_inflate_beyond_all_bounds_is_refused():
    """A small text can stand for gigabytes; it ends in an error instead of the worker."""
    packer = zlib.compressobj(1)
    # Flushed, a part of it stands for its megabyte wherever it comes.
    start, part = (packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in "12")
    packed = start + 1100 * part
    with pytest.raises(PayloadError, match="larger than any message"):
        payload.loads(json.dumps({"v": 1, "id": "x", "zlib": b64encode(packed).decode()}))


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parent / "payloads").glob("*.json")), ids=lambda p: p.stem
)
def test_payloads_of_earlier_versions_are_read(path):
    """Each sample gives the message that was queued when it was written."""
    sample = json.loads(path.read_text("utf-8"))
    message = payload.loads(json.dumps(sample["payload"]), sample["blobs"].__getitem__)
    assert rendered_bytes(message, "id").decode("latin-1") == sample["content"]
    assert message.recipients() == sample["recipients"]


def test_there_is_a_sample_of_each_shape():
    """What the samples cover is what the format can hold."""
    names = {path.stem for path in (Path(__file__).parent / "payloads").glob("v1-*.json")}
    assert names == {f"v1-{name}" for name in samples.MESSAGES}
