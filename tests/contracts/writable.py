"""The property of `send()`, run as a program: `python -m tests.contracts.writable FAMILY`.

What it accepts can be written for any server, and what it refuses is named. FAMILY is whose message
classes are used: mailqueue's, or Django's, which need configured settings that the other tests must
not see. For a longer search: `--hypothesis-profile=long`.
"""

from __future__ import annotations

import json
import os
import re
import sys
import warnings
from collections import Counter
from contextlib import suppress
from email import message_from_bytes, message_from_string, policy
from email.encoders import encode_7or8bit, encode_base64, encode_noop, encode_quopri
from email.message import Message, MIMEPart
from email.mime.application import MIMEApplication
from email.mime.base import MIMEBase
from email.mime.message import MIMEMessage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from mailqueue.mail.address import envelope_address
from mailqueue.mail.rendering.render import rendered_bytes
from mailqueue.mail.rendering.writing import attached_messages
from mailqueue.queue import payload
from tests import profiles
from tests.contracts import samebytes
from tests.contracts.roundtrip import family
from tests.contracts.samebytes import contents, filenames, mostly

TELL = os.environ.get("TELL")
ID = "an-id"
LINE_END = re.compile(rb"\r\n|\r|\n")
# Python's own examples of odd mail, where its tests are installed.
CORPUS = sorted((Path(warnings.__file__).parent / "test/test_email/data").glob("msg_*.txt"))

# -- forwarded messages

heads = st.lists(
    st.sampled_from(
        [
            b"Subject: s",
            b"Subject: gr\xfc\xdfe",
            b"Subject: " + b"gr\xfc\xdfe " * 30,
            b"Subject: " + "Grüße ".encode() * 30,
            b"From: ann@",
            b"To: a@b.example, ,",
            b"Date: x",
            b"Message-ID: <" + b"x" * 90 + b"[a]@b.example>",
            b"Message-ID: <" + b"x" * 999 + b"@b>",
            b"Message-ID: <\xe9@b>",
            b"X-Long: " + b"x" * 1200,
            b"X-Words: " + b"word " * 300,
            b"Content-Type: text/plain; charset=utf-8",
            b"Content-Type: text/plain; charset=no-such",
            b"Content-Type: text/html; charset=iso-8859-1",
            b"Content-Type: multipart/mixed",
            b'Content-Type: multipart/mixed; boundary="b"',
            b"Content-Type: multipart/alternative; boundary=bb",
            b"Content-Type: multipart/signed; boundary=b",
            b"Content-Type: message/rfc822",
            b"Content-Type: message/delivery-status",
            b"Content-Type: multipart/report; boundary=b",
            b"Content-Type: ;",
            b"Content-Type: x",
            b"Content-Type: application/octet-stream",
            b"Content-Transfer-Encoding: 8bit",
            b"Content-Transfer-Encoding: base64",
            b"Content-Transfer-Encoding: quoted-printable",
            b"Content-Transfer-Encoding: x-odd",
            b"Content-Transfer-Encoding: binary",
            b"X-Nul: a\0b",
            b"no header",
            b" folded",
            b": x",
            b"MIME-Version: 1.0",
            b"Content-Disposition: attachment; filename=a\xfc",
            b"",
            b"X-Word: =?utf-8?q?a=0Ab?=",
            b"Content-Type: text/plain; charset*=x''%0A",
        ]
    ),
    max_size=5,
).map(b"\n".join)
bodies = st.lists(
    st.one_of(
        st.sampled_from(
            [
                b"text",
                b"gr\xfc\xdfe",
                "Grüße".encode(),
                b"",
                b"--b",
                b"--b--",
                b"--bb",
                b"--bb--",
                b"--b0",
                b"x" * 998,
                b"x" * 999,
                b"\xfc" * 999,
                b"a\0b",
                b"a\rb",
                b"a\r",
                b"From me",
                b".",
                b"..",
                b"Content-Type: text/plain; charset=utf-8",
                b"Content-Transfer-Encoding: 8bit",
                b"Subject: inner",
                b"Content-Type: message/rfc822",
                b"R3LDvMOfZQ==",
                b"R3L=\xfc",
                b"=C3=BC=",
                b"Reporting-MTA: dns; x",
                b"Final-Recipient: rfc822; gr\xfc@x",
            ]
        ),
        st.binary(max_size=9),
    ),
    max_size=8,
)
line_ends = mostly(st.sampled_from([b"\n", b"\r\n"]), st.just(b"\r"))
made = st.builds(
    lambda head, body, end: LINE_END.sub(end, head + b"\n\n") + end.join(body),
    heads, bodies, line_ends,
)  # fmt: skip
found = st.sampled_from(CORPUS).map(Path.read_bytes) if CORPUS else made
sources = st.one_of(made, made, found)
message_types = mostly(
    st.just("message/rfc822"),
    st.sampled_from(
        ["message/delivery-status", "message/global", "message/partial", "Message/RFC822",
         "message/external-body", "message/feedback-report", "message/rfc822; name=x", "message/é",
         "message/", "message/a b"]
    ),
)  # fmt: skip
policies = st.sampled_from([policy.default, policy.compat32, policy.SMTP, policy.SMTPUTF8])


def as_text(source: bytes) -> str:
    return source.decode("utf-8", "replace")


def read(source: bytes, by: Any) -> Message:
    return message_from_bytes(source, policy=by)


def read_from_text(source: bytes, by: Any) -> Message:
    return message_from_string(as_text(source), policy=by)


forwarded = st.one_of(
    sources,
    sources,
    sources.map(as_text),
    sources.map(lambda source: source.decode("utf-8", "surrogateescape")),
    sources.map(bytearray),
    st.builds(read, sources, policies),
    st.builds(read_from_text, sources, policies),
)

# -- parts

kinds = st.sampled_from(
    ["text/plain", "text/plain", "text/html; charset=utf-8", "text/plain; charset=no-such",
     "text/plain; charset=us-ascii", "text/plain; charset=utf-16", "text/plain; charset=euc-jp",
     "application/json", "application/octet-stream", "image/png", "message/rfc822",
     "message/delivery-status", "multipart/mixed", "multipart/signed; boundary=s",
     "multipart/alternative; boundary=s", "x", ""]
)  # fmt: skip
encodings = st.sampled_from(
    [None, None, "7bit", "8bit", "binary", "base64", "quoted-printable", "x-odd"]
)
payloads = st.one_of(
    bodies.map(b"\n".join),
    sources,
    contents.map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.integers(700, 1500).map(lambda size: b"x" * size),
)


def part_of(source: bytes, kind: str, encoding: str | None, by: Any, classes: Any) -> Any:
    """A part as it was parsed from somebody's bytes."""
    head = f"Content-Type: {kind}\n" if kind else ""
    head += f"Content-Transfer-Encoding: {encoding}\n" if encoding else ""
    return message_from_bytes(head.encode() + b"\n" + source, _class=classes, policy=by)


class Legacy(MIMEBase):
    """Any part of the older kind, made without a type."""

    def __init__(self, **options: Any) -> None:
        Message.__init__(self, **options)


def set_by_hand(source: bytes, kind: str, encoding: str | None, legacy: bool, raw: bool) -> Any:
    """A part whose payload somebody set himself."""
    part: Any = Legacy() if legacy else MIMEPart()
    with suppress(Exception):
        part["Content-Type"] = kind
        if encoding:
            part["Content-Transfer-Encoding"] = encoding
    part.set_payload(source.decode("latin-1") if raw else source.decode("ascii", "surrogateescape"))
    return part


def made_by_python(source: bytes, encoder: Any, kind: int) -> Any:
    with suppress(Exception):
        if kind == 0:
            return MIMEApplication(source, _encoder=encoder)
        if kind == 1:
            return MIMEMessage(message_from_bytes(source))
        return MIMEText(as_text(source), _charset="utf-8" if kind == 2 else "iso-8859-1")
    return MIMEApplication(source)


def of_parts(inner: list[Any], subtype: str, limit: str | None, modern: bool) -> Any:
    if not modern:
        return MIMEMultipart(subtype, limit, inner)
    whole = MIMEPart()
    whole["Content-Type"] = f"multipart/{subtype}" + (f'; boundary="{limit}"' if limit else "")
    whole.set_payload(inner)
    return whole


leaves = st.one_of(
    st.builds(part_of, payloads, kinds, encodings, st.just(policy.default), st.just(MIMEPart)),
    st.builds(part_of, payloads, kinds, encodings, st.just(policy.compat32), st.just(Legacy)),
    st.builds(
        set_by_hand,
        payloads,
        kinds,
        encodings,
        st.booleans(),
        mostly(st.just(False), st.just(True)),
    ),
    st.builds(
        made_by_python,
        payloads,
        st.sampled_from([encode_base64, encode_7or8bit, encode_noop, encode_quopri]),
        st.integers(0, 3),
    ),
)
limits = st.sampled_from([None, None, "b", "bb", "s", "b c", "é", "", "x" * 80])
subtypes = st.sampled_from(["mixed", "related", "signed", "report", "digest", "alternative"])
any_parts = st.recursive(
    leaves,
    lambda inner: st.builds(of_parts, st.lists(inner, max_size=3), subtypes, limits, st.booleans()),
    max_leaves=4,
)
odd_headers = st.sampled_from(
    [{}, {}, {}, {"Content-ID": "<é>"}, {"X-A": "gr\udcfc"}, {"Content-Description": "ü" * 600},
     {"X-A": "x" * 1200}, {"Content-Disposition": "attachment; filename=a\nb"}, {"X-A": "a\ud800"},
     {"Content-Disposition": 'attachment; filename="ü.txt"'}, {"X-A": "word " * 300}]
)  # fmt: skip


def with_headers(part: Any, fields: dict[str, str]) -> Any:
    for name, value in fields.items():
        with suppress(Exception):
            part[name] = value
    return part


odd_parts = st.builds(with_headers, any_parts, odd_headers)
odd_text = st.sampled_from(
    ["\ud800", "x" * 1200, "x" * 997, "ü" * 1000, "a\nb", "a\0b", "=?utf-8?q?a=0Ab?=", "gr\udcfc",
     '"é, x" <a@b.example>', "é@b.example", "<é@b.example>", "<" + "x" * 999 + "@b>", "a b", ""]
)  # fmt: skip
odd_fields = st.dictionaries(
    st.sampled_from(
        ["X-A", "Message-ID", "Date", "From", "To", "Reply-To", "References", "Comments", "Sender",
         "List-Unsubscribe", "Content-Type", "Resent-To", "Subject", "In-Reply-To"]
    ),
    odd_text,
    max_size=2,
)  # fmt: skip
odd_addresses = st.lists(
    st.sampled_from(
        ["é@b.example", '"é, x" <a@b.example>', "a@bücher.example", "Ann <é@b.example>"]
    ),
    max_size=2,
)


@st.composite
def messages(draw: Any, mail: Any) -> Any:
    """Any message of the property of the same bytes, with more that is odd."""
    message = draw(samebytes.messages(mail))
    attachments = draw(
        st.lists(
            st.one_of(
                st.tuples(filenames, forwarded, message_types),
                st.tuples(filenames, forwarded, message_types),
                odd_parts,
            ),
            max_size=3,
        )
    )
    message.attachments = [*(message.attachments or ()), *attachments]
    if mail.__name__ != "mailqueue" and draw(mostly(st.just(True), st.just(False))):
        message.attachments = [given for given in message.attachments if is_djangos(given)]
    message.extra_headers = message.extra_headers | draw(mostly(st.just({}), odd_fields))
    message.from_email, message.cc, message.bcc = "ann@example.com", [], []
    message.to = ["bob@example.com", *draw(mostly(st.just([]), odd_addresses))]
    if draw(mostly(st.just(False), st.just(True))):
        message.reply_to = ["é@b.example"]
    return message


def is_djangos(given: Any) -> bool:
    """Whether it is something that Django's classes take, so that not all is refused."""
    import django

    return isinstance(given, (tuple, MIMEBase)) or django.VERSION >= (6, 0)


# -- what holds


def assert_well_formed(data: bytes, *, seven_bit: bool, utf8: bool) -> None:
    assert LINE_END.sub(b"\r\n", data) == data
    assert data.endswith(b"\r\n")
    assert max(map(len, data.split(b"\r\n"))) <= 998
    assert data.isascii() or utf8 or not seven_bit


def assert_same_content(message: Any, data: bytes) -> None:
    """Each attached file and message is in it, byte for byte but for the ends of a text's lines."""
    built = message_from_bytes(data)
    attachments = message.attachments or ()
    if not attachments or not built.is_multipart():
        return
    parts: Any = built.get_payload()
    parts = parts[-len(attachments) :]
    for attached, part in zip(attachments, parts, strict=True):
        if not isinstance(attached, tuple):
            continue
        content = attached[1]
        if isinstance(content, Message) or hasattr(content, "message"):
            continue
        is_text = isinstance(content, str)
        wanted = content.encode("utf-8", "surrogateescape") if is_text else bytes(content)
        if part.get_content_maintype() == "message":
            assert lines(wanted) in lines(data)
        elif part.get_content_maintype() != "text" and not is_garbled_by_django(message, content):
            assert part.get_payload(decode=True) == wanted


def is_garbled_by_django(message: Any, content: Any) -> bool:
    """Django before 6.0 doesn't encode text of other types than ``text/*`` and ``message/*``."""
    is_theirs = type(message).__module__.startswith("django.")
    return is_theirs and isinstance(content, str) and not content.isascii()


def lines(data: bytes) -> bytes:
    return LINE_END.sub(b"\n", data)


def describe(message: Any) -> str:
    """What it is, for whoever reads of a failure."""
    parts = [
        f"{type(given)} {vars(given)}" if isinstance(given, Message) else repr(given)
        for given in message.attachments or ()
    ]
    return "\n".join([str(vars(message)), *parts])


def check(message: Any, seen: Counter[str]) -> None:
    seen["examples"] += 1
    note(describe(message))
    try:
        text = payload.dumps(message, ID)
    except (ValueError, TypeError) as error:
        seen["refused"] += 1
        refused: Exception = error
    else:
        check_written(message, text)
        seen["written"] += 1
        return
    assert str(refused)
    assert not isinstance(refused, UnicodeEncodeError) or "(in " in str(refused)


def check_written(message: Any, text: str) -> None:
    """It can be read, and written for each server, twice the same; without Django, too."""
    envelope = [a for a in (message.from_email, *message.recipients()) if a]
    utf8 = not "".join(map(envelope_address, envelope)).isascii()
    if not attached_messages(message):
        elsewhere = payload.loads(json.dumps(payload.parse(text) | {"family": "mailqueue"}))
        for seven_bit in (False, True):
            data = rendered_bytes(elsewhere, ID, seven_bit=seven_bit, utf8=utf8)
            assert_well_formed(data, seven_bit=seven_bit, utf8=utf8)
    for seven_bit in (False, True):
        data = rendered_bytes(payload.loads(text), ID, seven_bit=seven_bit, utf8=utf8)
        assert data == rendered_bytes(payload.loads(text), ID, seven_bit=seven_bit, utf8=utf8)
        assert_well_formed(data, seven_bit=seven_bit, utf8=utf8)
        assert_same_content(message, data)


def main(name: str, profile: str, seed: str = "") -> None:
    mail, seeded = family(name), profiles.load(profile, seed)
    warnings.simplefilter("ignore")
    seen: Counter[str] = Counter()

    @seeded
    @settings(
        settings.default,
        max_examples=settings.default.max_examples * 5,
        suppress_health_check=list(HealthCheck),
    )
    @given(messages(mail))
    def property_(message: Any) -> None:
        check(message, seen)

    property_()
    sys.stdout.write(f"{dict(seen)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
