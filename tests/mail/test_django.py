"""The same message by Django and by us."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.headerregistry import HeaderRegistry
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import mailqueue
from mailqueue.mail.rendering.flatten import flatten
from tests.mail import rendering_by_django

django = pytest.importorskip("django")
READ = HeaderRegistry()
BYTE_FOR_BYTE = django.VERSION >= (6, 1)
POLICIES = ["default", "SMTP"] if django.VERSION >= (6,) else []  # message(policy=…): 6.0
EXAMPLES = settings.default.max_examples * 3

text = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Zl", "Zp"))
    | st.sampled_from("aeiou nstr ,.;:<>@()\"'=?_ äöüéñ€漢字🎉"),
    max_size=120,
)
line = text.map(lambda value: " ".join(value.split()))
body = st.lists(text, max_size=8).map("\n".join) | st.sampled_from(["x" * 2000, "é" * 500, ""])
# Long names that need quotes or encoded words are where Python's folding goes wrong, and ours
# differs on purpose: test_headers.py shows those.
# Two spaces within a name become one beside a domain outside ASCII.
name = st.text("abcdefghijk ", min_size=1, max_size=12).map(
    lambda value: " ".join(value.split())
) | st.sampled_from(["", "Jürgen", "René", "Doe, Jane", "漢字"])
domain = st.sampled_from(["example.com", "mail.example.org", "bücher.example", "localhost"])
local = st.text("abcdefgh0123456789.+-_", min_size=1, max_size=12).filter(
    lambda value: not re.search(r"^\.|\.\.|\.$", value)
)
# Not UTF-16 and UTF-32, which Python cuts in the middle of characters. Before 6.0 Django wrote the
# headers in that charset too.
CHARSETS = [
    *["us-ascii", "iso-8859-1", "iso-8859-15", "windows-1252", "koi8-r"],
    *["iso-2022-jp", "euc-jp", "shift_jis", "gb18030", "big5", "utf-7"],
]
charset = st.sampled_from([*[None] * 4, "utf-8", *(CHARSETS if django.VERSION >= (6,) else ())])
# Django 5.2 spoils text outside ASCII that is given for a type which isn't text.
OTHER_TYPES = ["application/json"] if BYTE_FOR_BYTE else []
address = st.builds(lambda n, lp, d: f'"{n}" <{lp}@{d}>' if n else f"{lp}@{d}", name, local, domain)
binary = st.binary(max_size=300).map(lambda data: {"base64": base64.b64encode(data).decode()})
file_name = st.text(st.sampled_from("abcdef äöü漢 _-"), min_size=1, max_size=40).map(
    lambda value: value.strip() or "x"
)
forwarded = st.fixed_dictionaries(
    {"kind": st.sampled_from(["ours", "new", "old"]), "subject": line, "body": body}
).map(lambda spec: spec | {"subject": spec["subject"][:40].strip()})  # we write no space at its end
attachment = st.one_of(
    st.tuples(file_name, binary, st.sampled_from(["image/png", "application/pdf", None])),
    st.tuples(file_name.map("{}.txt".format), body, st.sampled_from(["text/plain", None])),
    st.tuples(file_name, binary, st.just("text/csv")),
    *(st.tuples(st.just("j.json"), body, st.sampled_from([kind, None])) for kind in OTHER_TYPES),
    st.tuples(st.just("i.ics"), body, st.just("text/calendar; method=REQUEST")),
    st.tuples(st.just("m.eml"), st.just("Subject: inner\n\ntext"), st.just("message/rfc822")),
    st.tuples(st.just("f.eml"), forwarded, st.just("message/rfc822")),
)
alternative = st.tuples(
    body, st.sampled_from(["text/html", "text/calendar", "text/x-amp-html", *OTHER_TYPES])
)
headers = st.dictionaries(
    st.sampled_from(["X-Campaign", "X-Tag", "List-Id", "Organization"]),
    st.text("abcdefghij 0123456789", max_size=150).map(lambda value: " ".join(value.split())),
    max_size=2,
)


def writable(spec: dict[str, Any]) -> dict[str, Any]:
    """The spec without the characters that its charset doesn't have."""
    charset = spec["encoding"] or "utf-8"

    def text_of(content: Any, kind: str | None = None) -> Any:
        if isinstance(content, str):
            return content.encode(charset, "ignore").decode(charset)
        if not (kind or "").startswith("text/"):
            return content
        try:
            text = base64.b64decode(content["base64"]).decode()
        except UnicodeDecodeError:
            return content
        # Binary text is decoded as UTF-8, and then has to be written in the charset.
        return {"base64": base64.b64encode(text_of(text).encode()).decode()}

    return spec | {
        "body": text_of(spec["body"]),
        "alternatives": [(text_of(content), kind) for content, kind in spec["alternatives"]],
        "attachments": [(name, text_of(c, kind), kind) for name, c, kind in spec["attachments"]],
    }


spec = st.fixed_dictionaries(
    {
        "subject": line,
        "body": body,
        "from_email": address,
        "to": st.lists(address, min_size=1, max_size=4),
        "cc": st.lists(address, max_size=2),
        "reply_to": st.lists(address, max_size=1),
        "headers": headers.map(
            lambda found: {
                **found,
                "Date": "Fri, 20 Nov 2026 10:00:00 +0000",
                "Message-ID": "<id@example.com>",
            }
        ),
        "encoding": charset,
        "policy": st.sampled_from(["default", *POLICIES]),
        "content_subtype": st.sampled_from(["plain", "plain", "html"]),
        "alternatives": st.lists(alternative, max_size=2),
        "attachments": st.lists(attachment, max_size=2),
        # Django knows MIMEPart since 6.0.
        "inline": st.lists(binary, max_size=1 if django.VERSION >= (6,) else 0),
    }
).map(writable)


@pytest.fixture(scope="module")
def by_django() -> Iterator[Any]:
    """Renders a spec with Django, in its own process."""
    path = Path(rendering_by_django.__file__)
    with subprocess.Popen(
        [sys.executable, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def render(spec: dict[str, Any]) -> bytes:
            process.stdin.write(json.dumps(spec) + "\n")
            process.stdin.flush()
            reply = json.loads(process.stdout.readline())
            assert "error" not in reply, reply
            return base64.b64decode(reply["bytes"])

        yield render
        process.stdin.close()


def normal(rendered: bytes) -> bytes:
    """The bytes with boundaries numbered in their order of appearance, and visible line ends."""
    # After this a line that ends with LF alone differs from one that ends with CRLF.
    if b"\r\n" in rendered.partition(b"\n")[0] + b"\n":
        rendered = re.sub(rb"(?<!\r)\n", b"[LF]", rendered).replace(b"\r\n", b"\n")
    boundaries = list(dict.fromkeys(re.findall(rb"={15}\d+==", rendered)))
    for number, boundary in enumerate(boundaries):
        rendered = rendered.replace(boundary, b"boundary-%d" % number)
    # Python calls each forwarded message 8bit, and we those that are.
    forwarded = rb"(Content-Type: message/rfc822\nContent-Transfer-Encoding: )[78]bit"
    rendered = re.sub(forwarded, rb"\1its own", rendered)
    # One of ours that Django leaves out where the message has no body of its own.
    head, gap, rest = rendered.partition(b"\n\n")
    head = b"\n".join(line for line in head.split(b"\n") if line != b"MIME-Version: 1.0")
    head = re.sub(rb";\s+boundary", b"; boundary", head)
    return head + gap + re.sub(rb";\s+boundary", b"; boundary", rest)


def fields(rendered: bytes) -> tuple[dict[str, str], bytes]:
    """The header fields of the message as they are folded, and all that comes after them."""
    head, _, rest = rendered.partition(b"\n\n")
    found = (field.partition(":") for field in re.split(r"\n(?![ \t])", head.decode()))
    return {name: value for name, _, value in found}, rest


def is_broken(name: str, value: str, spec: dict[str, Any]) -> bool:
    """Whether the folded field, as Django wrote it, says something else than it was told.

    That is Python's doing, and differs from one Python to the next: mailqueue.mail.header mends it.
    """
    attribute = {"From": "from_email", "Reply-To": "reply_to"}.get(name, name.lower())
    wanted = spec[attribute] if attribute in spec else spec["headers"][name]
    wanted = wanted if isinstance(wanted, str) else ", ".join(wanted)
    if name in spec["headers"]:
        return "=?" in value
    unfolded = value.replace("\n", "").strip()
    if name == "Subject":
        return str(READ("Subject", unfolded)) != wanted
    read, meant = (READ(name, text).addresses for text in (unfolded, wanted))
    return [(a.display_name, a.username) for a in read] != [
        (a.display_name, a.username) for a in meant
    ]


def meaning(rendered: bytes) -> list[Any]:
    """What a reader finds: the headers, and each part's type, name and content."""
    parsed = message_from_bytes(rendered, policy=policy.default)
    found: list[Any] = []
    for header in ("Subject", "From", "To", "Cc", "Reply-To", "Message-ID", "X-Campaign", "X-Tag"):
        found.append((header, re.sub(r"\s+", " ", str(parsed[header] or "")).strip()))
    for part in parsed.walk():
        content = None
        if not part.is_multipart():
            content = part.get_content()
            content = content.rstrip("\n") if isinstance(content, str) else content
        found.append((part.get_content_type(), part.get_filename(), content))
    return found


@pytest.mark.skipif(
    not BYTE_FOR_BYTE, reason=f"needs Django 6.1 (Python 3.12); this is {django.__version__}"
)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(spec=spec)
@example(
    spec={
        **dict.fromkeys(("subject", "body"), ""),
        **{key: [] for key in ("cc", "reply_to", "alternatives", "inline")},
        "from_email": "ann@example.com",
        "to": ["bob@example.com"],
        "headers": {
            "Date": "Fri, 20 Nov 2026 10:00:00 +0000",
            "Message-ID": "<id@example.com>",
        },
        "encoding": None,
        "policy": "default",
        "content_subtype": "plain",
        "attachments": [("m.eml", "Subject: inner\n\ntext", "message/rfc822")],
    }
)
def test_our_bytes_are_djangos_bytes(by_django, spec) -> None:
    """A message of any kind comes out as Django 6.1 writes it, byte for byte, if that is right."""
    ours, theirs = rendering_by_django.rendered(mailqueue, spec), by_django(spec)
    our_fields, our_rest = fields(normal(ours))
    their_fields, their_rest = fields(normal(theirs))
    for field, value in their_fields.items():
        if our_fields[field] != value:
            assert is_broken(field, value, spec), (field, value, our_fields[field])
            assert not is_broken(field, our_fields[field], spec)
    # Not for pytest to explain: its way of comparing takes minutes for some bytes.
    are_same = (list(our_fields), our_rest) == (list(their_fields), their_rest)
    assert are_same, f"{our_rest!r}\n----\n{their_rest!r}"


@pytest.mark.skipif(BYTE_FOR_BYTE, reason="the bytes are compared, which shows more")
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(spec=spec)
def test_our_message_means_what_djangos_means(by_django, spec) -> None:
    """Headers, parts, names and contents are those of any Django's message."""
    spec = spec | {"subject": spec["subject"][:40]}
    ours = rendering_by_django.rendered(mailqueue, spec)
    assert meaning(ours) == meaning(by_django(spec))


SENDER = """
from django.conf import settings
settings.configure(EMAIL_BACKEND="mailqueue.backends.{backend}.EmailBackend",
                   EMAIL_HOST="127.0.0.1", EMAIL_PORT={port}, EMAIL_FILE_PATH={path!r})
from django.core import mail
message = mail.EmailMultiAlternatives("Grüße", "Straße", "ann@example.com", ["bob@example.com"])
message.attach_alternative("<p>Straße</p>", "text/html")
print(message.send())
"""


def test_django_sends_through_our_smtp_backend(server) -> None:
    """A Django project may name our SMTP backend: Django's own message objects go through it."""
    script = SENDER.format(backend="smtp", port=server.port, path="")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("1\n", "")
    content = server.messages[0].content
    assert message_from_bytes(content, policy=policy.default)["Subject"] == "Grüße"
    assert b"\n" not in content.replace(b"\r\n", b"")


def test_django_sends_through_our_file_backend(tmp_path) -> None:
    """Settings such as EMAIL_FILE_PATH come from Django when Django is configured."""
    script = SENDER.format(backend="filebased", port=1, path=str(tmp_path / "mail"))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("1\n", "")
    (written,) = (tmp_path / "mail").iterdir()
    assert b"To: bob@example.com\n" in written.read_bytes()


MAILERS = """
from django.conf import settings
settings.configure(MAILERS={{
    "default": {{"BACKEND": "mailqueue.backends.smtp.EmailBackend",
                "OPTIONS": {{"host": "127.0.0.1", "port": {port}}}}},
    "typo": {{"BACKEND": "mailqueue.backends.dummy.EmailBackend", "OPTIONS": {{"hots": 1}}}},
}})
import warnings
warnings.simplefilter("ignore")
from django.core import mail
message = "Subject", "Body", "ann@example.com", ["bob@example.com"]
print(mail.send_mail(*message), mail.send_mail(*message, fail_silently=True),
      mail.get_connection(nonsense=1).alias, mail.mailers.default.port)
try:
    mail.mailers["typo"]
except Exception as error:
    print(error)
"""


@pytest.mark.skipif(not BYTE_FOR_BYTE, reason="Django has MAILERS since 6.1")
def test_django_makes_mailers_of_our_backends(server) -> None:
    """In Django's MAILERS too, with what Django's functions add to the options."""
    script = MAILERS.format(port=server.port)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        f"1 1 default {server.port}",
        "MAILERS['typo']: Unknown options 'hots'.",
    ]
    assert len(server.messages) == 2


def test_a_message_whose_message_method_has_no_policy_is_sent() -> None:
    """A subclass that overrides ``message()`` as older Django documented it still works."""

    class Old(mailqueue.EmailMessage):
        def message(self):  # type: ignore[override]
            return super().message()

    rendered = flatten(Old("Subject", "a\nb", "ann@example.com"), linesep="\r\n")
    assert b"\r\na\r\nb\r\n" in rendered
    assert b"\n" not in rendered.replace(b"\r\n", b"")
