"""The property of the fast path, run as a program: `python -m tests.contracts.samebytes FAMILY`.

What it writes is what `message()` leads to, also after parts have travelled, and what it calls
sound can be built. FAMILY is whose message classes are used: mailqueue's, or Django's, which need
configured settings that the other tests must not see.
For a longer search: `--hypothesis-profile=long`.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections import Counter
from contextlib import suppress
from copy import copy
from email import message_from_bytes, policy
from email.headerregistry import HeaderRegistry
from email.message import EmailMessage as PythonMessage
from email.message import MIMEPart
from email.mime.image import MIMEImage
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailqueue.mail.rendering import proof
from mailqueue.mail.rendering import simple as fastpath
from mailqueue.mail.rendering.proof import is_sound
from mailqueue.mail.rendering.render import built_bytes
from mailqueue.mail.rendering.simple import write
from mailqueue.queue.payload.part import dump_part, load_part
from tests import profiles
from tests.contracts.roundtrip import family


def mostly(usual: Any, odd: Any) -> Any:
    """One in ten is odd: with more, hardly a message would have nothing odd."""
    one_of_ten = st.sampled_from([False] * 9 + [True])  # integers() would prefer its ends
    return one_of_ten.flatmap(lambda is_odd: odd if is_odd else usual)


odd_pieces = st.sampled_from(
    [
        "\n", "\r\n", "\r", "\n\n", ".", "\n.\n", "\r\n.\r\n", "From ", "\nFrom me\n", "--", "=_",
        "\0", "\t", " ", "  ", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\xa0", "\x7f",
        "=", "=20", "=?", "?=", "=?utf-8?q?a=0Ab?=", "=?utf-8?b?w6k=?=", "é", "ß", "漢字", "🎉",
        "€", "\ufeff", "\u200b", "x" * 30, "x" * 76, "x" * 77, "x" * 78, "x" * 79, "x" * 998,
        "é" * 39, "é" * 40, "word " * 20, " " * 99, "<p>", '"', "'", "\\", ",", ";", ":",
        "<", ">", "(", ")",
    ]
)  # fmt: skip
plain_words = st.from_regex(r"[A-Za-z0-9.,!?-]{1,12}", fullmatch=True)
pieces = st.one_of(plain_words, plain_words, odd_pieces, st.text(max_size=5))
some_text = st.lists(pieces, max_size=12).map("".join)
sentence = st.lists(plain_words, max_size=30).map(" ".join)
paragraphs = st.lists(sentence, max_size=5).map("\n".join)
long_lines = st.lists(plain_words, min_size=12, max_size=60).map(" ".join)
contents = st.one_of(paragraphs, paragraphs, some_text, long_lines, st.just(""))
# A header that breaks the rules makes the whole an error: there shouldn't be one in each message.
in_one_line = some_text.map(lambda text: "".join(c for c in text if c.isprintable() or c == "\t"))
# Whatever is written straight must be what Python makes of it.
straight_text = st.from_regex(fastpath._WORDS, fullmatch=True)
straight_addresses = st.from_regex(fastpath._ADDRESSES, fullmatch=True)
straight_ids = st.from_regex(fastpath.PATTERNS["message-id"], fullmatch=True)
straight_names = st.from_regex(fastpath._FILE_NAME, fullmatch=True)
subjects = st.one_of(sentence, straight_text, sentence, in_one_line, in_one_line, some_text)

locals_ = st.sampled_from(
    ["ann", "a.b", "a+b", "x_y", "=?x", "é", '"a b"', "a..b", ".a", "o'neil", "a" * 60, "{x}", ""]
)
domains = st.sampled_from(
    ["example.com", "a.b-c.example", "localhost", "bücher.example", "x_y.example", "[127.0.0.1]",
     "a..b", "-x.example", "x" * 60 + ".example", "", "example.com."]
)  # fmt: skip
usual = st.sampled_from(["ann@example.com", "bob@mail.example.org", "root@localhost"])
specs = st.one_of(usual, usual, usual, st.builds("{}@{}".format, locals_, domains))
names = st.sampled_from(
    ["Ann", "Ann Lee", '"Doe, Jane"', "John Q. Public", "Jürgen", "René Müller", '"a  b"', "a  b",
     '"a\\"b"', "A (comment) B", '"é, x"', "漢字", "=?utf-8?q?x?=", '""', "'Ann'", "x" * 40,
     "word " * 16, '"From: x"', "a.b", "a@b", "<x>", "Ann;", "group: a@x.example;"]
)  # fmt: skip
named = st.builds("{} <{}>".format, st.sampled_from(["Ann", "Ann Lee", '"Doe, Jane"']), usual)
addresses = st.one_of(
    specs,
    specs,
    named,
    st.builds("{} <{}>".format, names, specs),
    st.just(""),
    in_one_line,
)
address_lists = mostly(
    st.one_of(
        st.lists(usual, max_size=3),
        st.lists(named, max_size=3),
        st.lists(straight_addresses, max_size=2),
    ),
    st.one_of(
        st.lists(addresses, max_size=3),
        st.lists(addresses, min_size=5, max_size=12),
        st.lists(named, min_size=5, max_size=12),
        st.just(()),
        st.none(),
    ),
)
dates = st.sampled_from(
    ["Fri, 20 Nov 2026 10:00:00 +0000", "Mon, 20 Nov 2026 10:00:00 -0000", "20 Nov 26 10:00 GMT",
     "Fri, 20 Nov 2026 10:00:00 +0530", "yesterday", "", "Fri, 31 Feb 2026 10:00:00 +0000"]
)  # fmt: skip
ids = st.sampled_from(
    ["<1.2.3@example.com>", "<" + "a" * 90 + "@example.com>", "<a b@c>", "a@b", "", "<é@b>", "<a@b",
     "<a@[127.0.0.1]>", "<a@b> x"]
)  # fmt: skip
usual_date, usual_id = st.just("Fri, 20 Nov 2026 10:00:00 +0000"), st.just("<1.2.3@example.com>")
values = st.one_of(sentence, sentence, in_one_line, addresses, st.just("<mailto:x@y>, <http://z/>"))
usual_fields = st.sampled_from(
    ["X-A", "X-Campaign", "List-Unsubscribe", "Precedence", "References", "Comments", "In-Reply-To"]
)
odd_fields = st.sampled_from(
    ["x-a", "Auto-Submitted", "Reply-To", "From", "To", "Cc", "reply-to", "FROM", "to", "CC",
     "Sender", "Subject", "Bcc", "Content-Type", "bcc", "MIME-Version", "Content-ID", "X_Odd",
     "content-transfer-encoding", "Resent-From", "X:bad", "X bad", "X-é", "", "Resent-Date",
     "Orig-Date", "Content-Disposition", "date", "message-id"]
)  # fmt: skip
extra_headers = st.one_of(
    st.dictionaries(usual_fields, values, max_size=3),
    st.dictionaries(usual_fields, values, max_size=3),
    st.dictionaries(usual_fields, sentence, max_size=3),
    st.dictionaries(odd_fields, values, max_size=2),
)
fixed_headers = st.fixed_dictionaries(
    {},
    optional={
        "Date": st.one_of(usual_date, usual_date, dates),
        "Message-ID": st.one_of(usual_id, straight_ids, ids),
    },
)
both_headers = st.fixed_dictionaries(
    {"Date": usual_date, "Message-ID": st.one_of(usual_id, straight_ids)}
)
headers = st.builds(
    lambda *parts: {name: value for part in parts for name, value in part.items()},
    mostly(st.just({}), extra_headers),
    mostly(both_headers, st.one_of(fixed_headers, st.just({}))),
    mostly(st.just({}), extra_headers),
)
text_types = mostly(
    st.sampled_from(["text/html", "text/html", "text/plain", "text/calendar; method=REQUEST"]),
    st.sampled_from(
        ["text/x-amp-html", "text/html; charset=iso-8859-1", "TEXT/html", "text/é", "text",
         "application/json"]
    ),
)  # fmt: skip
types = mostly(
    st.sampled_from(
        ["application/pdf", "image/png", "application/octet-stream", "text/csv", "text/plain"]
    ),
    st.sampled_from(
        ["application/pdf; name=x.pdf", "audio/x", "Image/PNG", "application/é", "application",
         "a/b", "text/plain; charset=koi8-r", "message/rfc822", "multipart/mixed", "", None,
         "application/ld+json", "application/x; a=b; c=d", "text/=?utf-8?q?a?=", "video/mp4",
         "application/x\n"]
    ),
)  # fmt: skip
binary = st.one_of(
    st.binary(max_size=200),
    st.integers(50, 5000).map(lambda size: bytes(range(250)) * (size // 250)),
)
filenames = st.one_of(
    st.sampled_from(["a.pdf", "Invoice 17.pdf", "photo-1.png", "notes.txt", "data.bin"]),
    st.sampled_from(["a.pdf", "Invoice 17.pdf", "photo-1.png", "notes.txt", "data.bin"]),
    straight_names,
    st.from_regex(proof._SOUND_NAME, fullmatch=True),
    st.sampled_from(
        ['a"b.pdf', "a\\b", "é.pdf", "漢" * 20, "a;b", "", " a", "a ", "a  b", "x" * 90, "a%20b",
         "=?utf-8?q?a?=", "a\nb", "a\0b", "a\ud800", "any.name", "'a'", "a*b", "a=b", "a\tb"]
    ),
    st.none(),
)  # fmt: skip
triples = st.tuples(filenames, st.one_of(binary, binary, contents), types)
charsets = mostly(
    st.sampled_from([None, "utf-8"]),
    st.sampled_from(
        ["UTF-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "latin-1", "iso-8859-15", "koi8-r",
         "utf-16", "utf-7", "iso-2022-jp", "shift_jis", "gb18030", "cp037",
         "utf-16-le", "utf-8-sig", "no-such", ""]
    ),
)  # fmt: skip


class OwnPolicy(policy.EmailPolicy):
    """May do anything."""


own_registry = HeaderRegistry()
own_registry.map_to_type("x-a", own_registry.registry["date"])
policies = mostly(
    st.sampled_from([policy.default, policy.default, policy.SMTP, policy.EmailPolicy()]),
    st.sampled_from(
        [policy.SMTPUTF8, policy.HTTP, policy.strict, policy.compat32, OwnPolicy(),
         policy.default.clone(max_line_length=40), policy.default.clone(max_line_length=0),
         policy.default.clone(cte_type="7bit"), policy.EmailPolicy(header_factory=own_registry)]
    ),
)  # fmt: skip
part_fields = st.one_of(
    st.sampled_from(["X-A", "Content-Location", "Content-Description", "Content-Language"]),
    st.sampled_from(["X-Attachment-Id", "content-id", "MIME-Version", "To", "Date", "Subject"]),
    odd_fields,
)
part_headers = st.one_of(
    st.just({}), st.dictionaries(part_fields, st.one_of(sentence, values, some_text), max_size=3)
)
cids = st.one_of(st.just("<logo>"), straight_ids, mostly(ids, in_one_line))
dispositions = st.sampled_from(["inline", "inline", "attachment", None, "x"])
large_text = st.just("All the news.\n" * 4000)


def twice(part: MIMEPart) -> None:
    part.set_raw("Content-Type", policy.default.header_factory("Content-Type", "multipart/x"))


def read_again(part: MIMEPart) -> MIMEPart:
    return message_from_bytes(part.as_bytes(), _class=MIMEPart, policy=policy.default)  # type: ignore[return-value,arg-type]


def of_another_class(_: MIMEPart) -> MIMEPart:
    other = PythonMessage()
    other.set_content("<p>", subtype="html", disposition="inline", cid="<x>")
    return other


def of_the_older_kind(_: MIMEPart) -> MIMEImage:
    return MIMEImage(b"GIF89a", "gif")


def containing(part: MIMEPart) -> MIMEPart:
    other = MIMEPart()
    other.make_mixed()
    other.attach(part)  # type: ignore[arg-type] # any part will do
    return other


def forwarding(part: MIMEPart) -> MIMEPart:
    other = MIMEPart()
    other.set_content(of_another_class(part))
    return other


odd_changes = st.sampled_from(
    [
        lambda part: part.set_payload("é"),
        lambda part: part.set_payload("a\rb\n\nc\r\nd"),
        lambda part: part.set_payload(None),
        lambda part: part.set_payload(b"bytes"),
        lambda part: part.set_payload("caf\udce9 \r\n\r\n"),
        lambda part: part.set_payload("\udce9 é"),
        lambda part: part.set_payload("caf\udce9", "cp037"),
        lambda part: part.set_raw("X-Source", "as it\n came"),
        lambda part: part.set_default_type("message/rfc822"),
        lambda part: part.set_param("charset", "no-such"),
        lambda part: part.set_type("message-delivery/status"),
        lambda part: part.replace_header("Content-Type", "x"),
        lambda part: vars(part)["_headers"].clear(),
        lambda part: vars(part).update(extra=1),
        twice,
        read_again,
        of_another_class,
        containing,
        forwarding,
        of_the_older_kind,
    ]
)


@st.composite
def parts(draw: Any) -> Any:
    """Any part, mostly an image that stands inline, or a text."""
    part = MIMEPart(policy=draw(policies))
    options = {"disposition": draw(dispositions), "cid": draw(st.one_of(st.none(), cids))}
    options["filename"] = draw(st.one_of(st.none(), filenames))
    if draw(st.booleans()):
        content: Any = draw(binary)
        options |= {"maintype": draw(st.sampled_from(["image", "image", "application", "model"]))}
        options |= {"subtype": "png", "cte": draw(st.sampled_from(["base64", "base64", "8bit"]))}
    else:
        content = draw(st.one_of(contents, contents, large_text))
        options |= {"charset": draw(st.sampled_from(["utf-8", "utf-8", "iso-8859-1", "utf-16"]))}
        options |= {"cte": draw(st.sampled_from([None, None, "8bit", "7bit", "quoted-printable"]))}
    with suppress(Exception):  # then it is what has been set until there
        part.set_content(content, **options)
    for name, value in draw(part_headers).items():
        with suppress(Exception):
            part[name] = value
    change = draw(mostly(st.none(), odd_changes))
    with suppress(Exception):
        return (change and change(part)) or part
    return part


@st.composite
def messages(draw: Any, mail: Any) -> Any:
    """Any message, mostly of the usual kinds, with something odd here and there."""
    multiple = draw(st.booleans())
    message = (mail.EmailMultiAlternatives if multiple else mail.EmailMessage)()
    message.subject, message.body = draw(subjects), draw(contents)
    message.from_email = draw(st.one_of(usual, usual, addresses))
    message.to = draw(address_lists)
    message.cc, message.bcc, message.reply_to = (
        draw(st.one_of(st.just([]), st.just([]), address_lists)) for _ in range(3)
    )
    message.extra_headers = draw(headers)
    message.encoding = draw(charsets)
    set_shape(draw, message)
    message.attachments = draw(
        st.one_of(st.just([]), st.just([]), st.lists(triples, max_size=3), st.none())
    )
    if message.attachments is not None and draw(st.booleans()):
        message.attachments += draw(st.lists(parts(), min_size=1, max_size=2))
    if multiple:
        versions = st.lists(st.tuples(contents, text_types), max_size=2)
        one = st.tuples(contents, st.just("text/html")).map(lambda version: [version])
        message.alternatives = [
            mail.EmailAlternative(*version) if hasattr(mail, "EmailAlternative") else version
            for version in draw(st.one_of(one, one, versions))
        ]
    return message


def set_shape(draw: Any, message: Any) -> None:
    kinds = mostly(
        st.sampled_from(["plain", "html"]),
        st.sampled_from(["html; charset=x", "x\n", "é", "", "HTML", "x-amp"]),
    )
    message.content_subtype = draw(kinds)
    kinds = st.sampled_from(["mixed", "related", "alternative", "signed", "x y", "report"])
    for name in ("mixed_subtype", "alternative_subtype"):
        kind = draw(mostly(st.none(), kinds))
        if kind is not None:
            setattr(message, name, kind)


def built(message: Any, **way: bool) -> bytes | Exception:
    try:
        return built_bytes(message, "id", **way)
    except Exception as error:  # noqa: BLE001 - then the fast path must not write anything
        return error


def travelled(message: Any) -> Any:
    """The message with its parts as a worker gets them."""
    message = copy(message)
    message.attachments = [
        load_part(json.loads(json.dumps(dump_part(given))))
        if isinstance(given, MIMEPart)
        else given
        for given in message.attachments or ()
    ]
    return message


def main(name: str, profile: str, seed: str) -> None:
    mail, seeded = family(name), profiles.load(profile, seed)
    examples = settings.default.max_examples * 7
    warnings.simplefilter("ignore")
    seen: Counter[str] = Counter()

    @seeded
    @settings(settings.default, max_examples=examples, suppress_health_check=list(HealthCheck))
    @given(messages(mail), st.sampled_from([False, False, True]), st.sampled_from([False, True]))
    def property_(message: Any, seven_bit: bool, utf8: bool) -> None:
        seen["examples"] += 1
        fast = write(message, "id", seven_bit=seven_bit, utf8=utf8)
        if fast is not None:
            seen["fast"] += 1
            slow = built(message, seven_bit=seven_bit, utf8=utf8)
            assert fast == slow, f"{fast!r}\n----\n{slow!r}"
            if any(isinstance(given, MIMEPart) for given in message.attachments or ()):
                seen["parts"] += 1
                for _ in range(2):
                    other = travelled(message)
                    fast = write(other, "id", seven_bit=seven_bit, utf8=utf8)
                    slow = built(other, seven_bit=seven_bit, utf8=utf8)
                    assert fast in (slow, None), f"{fast!r}\n----\n{slow!r}"
                    seen["travelled"] += fast is not None
        if is_sound(message):
            seen["sound"] += 1
            message.message()

    property_()
    sys.stdout.write(f"{dict(seen)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
