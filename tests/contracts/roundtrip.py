"""The property of the payload, run as a program: `python -m tests.contracts.roundtrip FAMILY`.

FAMILY is whose message classes are used: mailqueue's, or Django's, which need configured settings
that the other tests must not see.
"""

from __future__ import annotations

import sys
import warnings
from email.message import EmailMessage as PythonMessage
from email.message import MIMEPart
from email.mime.base import MIMEBase
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailqueue.mail.rendering.render import rendered_bytes
from mailqueue.queue import payload
from mailqueue.queue.payload.blob import BlobCollector
from tests import profiles


def family(name: str) -> Any:
    """The module that holds the message classes."""
    if name == "django":
        import django
        from django.conf import settings as django_settings

        django_settings.configure(USE_I18N=False)
        django.setup()
        from django.core import mail

        return mail
    import mailqueue

    return mailqueue


# Control characters have no place in a header, and each class refuses some of them.
letters = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"]), max_size=30)
words = st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=12)
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=200)
addresses = st.builds(
    lambda name, local, domain: (
        f"{name} <{local}@{domain}.example>" if name else f"{local}@x.example"
    ),
    st.one_of(st.just(""), words),
    st.from_regex(r"[a-z][a-z0-9.+]{0,8}[a-z]", fullmatch=True).filter(lambda s: ".." not in s),
    st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True),
)
address_lists = st.lists(addresses, max_size=3)
mimetypes = st.sampled_from(
    [
        "text/plain",
        "text/html",
        "text/calendar",
        "application/pdf",
        "application/octet-stream",
        None,
    ]
)


def mime_part(data: bytes, cid: str, disposition: str) -> MIMEPart:
    part = MIMEPart()
    part.set_content(
        data, maintype="image", subtype="png", disposition=disposition, cid=f"<{cid}@x>"
    )
    return part


def legacy_part(data: bytes, name: str) -> MIMEBase:
    from email.encoders import encode_base64

    part = MIMEBase("application", "x-thing", param=name)
    part.set_payload(data)
    encode_base64(part)
    part.add_header("Content-Disposition", "attachment", filename=f"{name}.bin")
    part["X-Extra"] = name
    return part


def forwarded(subject: str, body: str) -> PythonMessage:
    message = PythonMessage()
    message["Subject"], message["From"] = subject, "forwarded@x.example"
    message.set_content(body)
    return message


plain_words = st.from_regex(r"[A-Za-z0-9]{1,10}", fullmatch=True)
triples = st.one_of(
    st.tuples(st.one_of(st.none(), words), st.one_of(texts, st.binary(max_size=80)), mimetypes),
    st.tuples(
        st.one_of(st.none(), words),
        st.builds(forwarded, words, texts),
        st.just("message/rfc822"),
    ),
)
modern_parts = st.builds(
    mime_part, st.binary(max_size=80), plain_words, st.sampled_from(["inline", "attachment"])
)
legacy_parts = st.builds(legacy_part, st.binary(max_size=80), plain_words)
finite = st.floats(allow_nan=False, allow_infinity=False)
attribute_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), finite, letters,
              st.datetimes(), st.dates(), st.decimals(allow_nan=False, allow_infinity=False)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(letters, inner, max_size=3)
    ),
    max_leaves=5,
)  # fmt: skip
headers = st.dictionaries(
    st.from_regex(r"X-[A-Za-z]{1,8}", fullmatch=True), letters.map(str.strip), max_size=3
)


@st.composite
def messages(draw: Any, mail: Any) -> Any:
    """Any message: a class, its fields, its attachments, its alternatives, its attributes."""
    multiple = draw(st.booleans())
    message = (mail.EmailMultiAlternatives if multiple else mail.EmailMessage)(
        draw(letters), draw(texts), draw(addresses), draw(address_lists),
        cc=draw(address_lists), bcc=draw(address_lists), reply_to=draw(address_lists),
        headers=draw(headers),
    )  # fmt: skip
    message.encoding = draw(st.sampled_from([None, None, "utf-8"]))
    message.content_subtype = draw(st.sampled_from(["plain", "html"]))
    if mail.__name__ == "mailqueue" or _version() < (6, 1):
        message.mixed_subtype = draw(st.sampled_from(["mixed", "related"]))
    for part in draw(st.lists(attachments_for(mail), max_size=3)):
        if isinstance(part, tuple) and part[0] is None and part[2] is None:
            continue  # Django has nothing to guess the type from
        with warnings.catch_warnings(action="ignore"):
            message.attach(*part) if isinstance(part, tuple) else message.attach(part)
    if multiple:
        for content in draw(st.lists(texts, max_size=2)):
            message.attach_alternative(content, draw(st.sampled_from(["text/html", "text/x-amp"])))
    for name, value in draw(st.dictionaries(st.sampled_from(["tags", "metadata", "esp_extra"]),
                                            attribute_values, max_size=2)).items():  # fmt: skip
        setattr(message, name, value)
    return message


def attachments_for(mail: Any) -> Any:
    """Django before 6.0 takes no modern MIMEPart."""
    modern = mail.__name__ == "mailqueue" or _version() >= (6, 0)
    return st.one_of(triples, legacy_parts, *([modern_parts] if modern else []))


def _version() -> tuple[int, ...]:
    import django

    return django.VERSION[:2]


def main(name: str, profile: str, seed: str) -> None:
    mail, seeded = family(name), profiles.load(profile, seed)
    examples = settings.default.max_examples * 3
    passed = []

    @seeded
    @settings(settings.default, max_examples=examples, suppress_health_check=list(HealthCheck))
    @given(messages(mail), st.sampled_from([20, sys.maxsize]))
    def property_(message: Any, threshold: int) -> None:
        message.extra_headers.setdefault("Message-ID", "<fixed@x.example>")
        message.extra_headers.setdefault("Date", "Thu, 01 Jan 1970 00:00:00 +0000")
        before = rendered_bytes(message, "id")
        blobs = BlobCollector(threshold)
        again = payload.loads(payload.dumps(message, "id", blobs), blobs.contents.__getitem__)
        assert type(again) is type(message)
        after = rendered_bytes(again, "id")
        assert after == before, f"{before.decode('latin-1')}\n----\n{after.decode('latin-1')}"
        assert again.recipients() == message.recipients()
        assert again.extra_headers == message.extra_headers
        for attribute in ["tags", "metadata", "esp_extra"]:
            value = getattr(message, attribute, "missing")
            assert getattr(again, attribute, "missing") == value
        passed.append(1)

    property_()
    sys.stdout.write(f"{len(passed)} examples passed\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
