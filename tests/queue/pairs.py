"""Who composes and who delivers, each a program of its own: ``python -m tests.queue.pairs``.

``compose FAMILY LABEL`` writes each message's payload, and what it is without the queue.
``deliver WORKER`` reads payloads, and has them delivered by each backend. A process
has Django configured or not, for good; and each version of Django has its own Python. So this file
imports no pytest.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import warnings
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout
from email import message_from_bytes, policy
from email.charset import Charset
from email.message import MIMEPart
from email.mime.image import MIMEImage
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from mailqueue.conf import settings
from mailqueue.delivery.envelope import Outgoing
from mailqueue.delivery.opening import open_transport
from mailqueue.errors import PayloadError
from mailqueue.mail.rendering.flatten import flatten
from mailqueue.queue import payload

ROOT = Path(__file__).parents[2]
SMTP = ["mailqueue.backends.smtp", "tests.queue.ownsmtp", "django.core.mail.backends.smtp"]
OURS, DJANGO, ANYMAIL = "mailqueue.backends", "django.core.mail.backends", "anymail.backends.test"
TO = "Änn <ann@example.com>"
HIDDEN = "hidden@example.com"
_SIGNATURE = "v=1; a=rsa-sha256; h=from:to; b=" + "q" * 300
# How a process composes: with whose classes, and whether Django is configured there.
COMPOSERS = ("ours", "ours in Django", "Django")
WORKERS = ("Django", "no Django")


_BOUNDARY = re.compile(rb"={15}\d+==|=_[0-9a-f]{26}")


# -- composing


def letters(mail: Any, label: str) -> dict[str, Any]:
    """A message of each shape, of the classes of ``mail``."""
    found = {name: make(mail) for name, make in _SHAPES.items()}
    for name, message in found.items():
        if message is not None:
            ids = {
                "Message-ID": f"<{name}.{label}@example.com>",
                "Date": "Mon, 30 Nov 2026 12:00:00 +0000",
            }
            message.extra_headers = message.extra_headers | ids
    return {name: message for name, message in found.items() if message is not None}


def _letter(class_: Any, body: str = "A letter\n", **values: Any) -> Any:
    given: dict[str, Any] = {"bcc": [HIDDEN]} | values
    return class_("Grüße: a letter", body, "Mé <me@example.com>", [TO], **given)


def _plain(mail: Any) -> Any:
    return _letter(mail.EmailMessage, cc=["c@example.com"], headers={"X-Note": "word " * 40})


def _html(mail: Any) -> Any:
    message = _letter(mail.EmailMessage, "<p>Grüße</p>\n", reply_to=["r@example.com"])
    message.content_subtype = "html"
    return message


def _alternatives(mail: Any) -> Any:
    message = _letter(mail.EmailMultiAlternatives, "Straße\n" + "long " * 300 + "\n")
    message.attach_alternative("<p>Straße</p>\n", "text/html")
    message.attach_alternative("BEGIN:VCALENDAR\nEND:VCALENDAR\n", "text/calendar")
    message.tags, message.metadata = ["news"], {"order": 17}
    return message


def _attachments(mail: Any) -> Any:
    message = _letter(mail.EmailMultiAlternatives)
    message.attach("über.pdf", bytes(range(256)) * 9, "application/pdf")
    message.attach("notes.txt", "café\n", "text/plain")
    message.attach("data.csv", "1,é\n".encode(), "text/csv")
    message.attach("i.ics", "BEGIN:VCALENDAR\nEND:VCALENDAR\n", "text/calendar; method=REQUEST")
    return message


def _inline(mail: Any) -> Any:
    """An inline image, of the class that this version takes."""
    message = _letter(mail.EmailMultiAlternatives)
    message.attach_alternative('<img src="cid:logo">\n', "text/html")
    if _is_old(mail):
        image: Any = MIMEImage(b"GIF89a", "gif")
        image["Content-ID"], image["Content-Disposition"] = "<logo>", "inline"
    else:
        image = MIMEPart()
        image.set_content(b"GIF89a", "image", "gif", disposition="inline", cid="<logo>")
    message.attach(image)
    return message


def _latin(mail: Any) -> Any:
    message = _letter(mail.EmailMessage, "Grüße\n")
    message.encoding = "iso-8859-1"
    message.subject = "Gr\u00fc\u00dfe"
    return message


def _charset(mail: Any) -> Any:
    """A Charset has no form in JSON; Django takes none since 6.0."""
    if not (_is_old(mail) or mail.__name__ == "mailqueue"):
        return None
    message = _letter(mail.EmailMessage, "Grüße\n")
    message.encoding, message.subject = Charset("iso-8859-1"), "Gr\u00fc\u00dfe"
    return message


def _related(mail: Any) -> Any:
    """Another kind of multipart, which Django refuses since 6.0."""
    if not (_is_old(mail) or mail.__name__ == "mailqueue"):
        return None
    message = _inline(mail)
    message.mixed_subtype = "related"
    return message


def _own(mail: Any) -> Any:
    """Its class adds a header to what it builds."""

    class Own(mail.EmailMultiAlternatives):  # type: ignore[misc, name-defined]
        def message(self, **options: Any) -> Any:
            built = super().message(**options)
            built["X-Own"] = "yes"
            return built

    message = _letter(Own, "Straße\n", cc=["c@example.com"])
    message.attach_alternative("<p>Straße</p>\n", "text/html")
    message.attach("a.pdf", bytes(range(256)), "application/pdf")
    message.metadata = {"order": 17}
    return message


def _signed(mail: Any) -> Any:
    """Its class signs what it builds: no header may be folded anew."""

    class Signed(mail.EmailMessage):  # type: ignore[misc, name-defined]
        def message(self, **options: Any) -> Any:
            built = super().message(**options)
            built = message_from_bytes(
                built.as_bytes(), policy=policy.default.clone(refold_source="none")
            )
            built.set_raw("DKIM-Signature", _SIGNATURE)
            return built

    return _letter(Signed)


def _derived(mail: Any) -> Any:
    class Derived(mail.EmailMultiAlternatives):  # type: ignore[misc, name-defined]
        tags = ("news",)

    return _letter(Derived)


_SHAPES: dict[str, Callable[[Any], Any]] = {
    make.__name__.strip("_"): make
    for make in (
        _plain, _html, _alternatives, _attachments, _inline, _latin, _charset, _related,
        _own, _signed, _derived,
    )
}  # fmt: skip
# What a class builds itself: its bytes are the same wherever it is delivered.
BUILT_BY_ITSELF = {"charset", "own", "signed"}


def _is_old(mail: Any) -> bool:
    return _is_before(mail, (6, 0))


def _is_before(mail: Any, version: tuple[int, int]) -> bool:
    return mail.__name__ != "mailqueue" and bool(version > sys.modules["django"].VERSION)


def compose(family: str, label: str) -> dict[str, Any]:
    """The payload of each message, its bytes and what Anymail makes of it without the queue."""
    if family != "ours":
        _configure_django()
    mail = import_module("django.core.mail" if family == "Django" else "mailqueue")
    found = {}
    for shape, message in letters(mail, label).items():
        name = f"{shape}.{label}"
        found[name] = {
            "payload": payload.dumps(message, name),
            "direct": b64encode(flatten(message, linesep="\r\n")).decode(),
            "is_exact": not _is_before(mail, (6, 1)),  # our bytes are the newest Django's
            "anymail": None if family == "ours" else _by_anymail([message])[0],
        }
    return found


# -- delivering


def deliver(worker: str, ports: dict[str, int], texts: dict[str, str]) -> dict[str, Any]:
    """Deliver each payload by each backend: what came of it, where that is not at a server."""
    if worker == "Django":
        _configure_django()
    return {backend: _deliver_by(backend, port, texts) for backend, port in ports.items()}


def _deliver_by(backend: str, port: int, texts: dict[str, str]) -> dict[str, Any]:
    printed = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
    with TemporaryDirectory() as path, redirect_stdout(printed):
        server = {"EMAIL_HOST": "127.0.0.1", "EMAIL_PORT": port, "EMAIL_FILE_PATH": path}
        with settings.overridden(**server, MAILQUEUE={"BACKEND": f"{backend}.EmailBackend"}):
            messages = {name: payload.loads(text) for name, text in texts.items()}
            transport = open_transport()
            problems = {name: _deliver(transport, name, m) for name, m in messages.items()}
            transport.close()
        written = b"".join(file.read_bytes() for file in Path(path).iterdir())
    written = written or printed.buffer.getvalue()  # type: ignore[attr-defined]
    found: dict[str, Any] = {"problems": {n: p for n, p in problems.items() if p}}
    found["written"] = written.decode("utf-8", "replace")
    if backend == ANYMAIL:
        found["anymail"] = {name: _params(m) for name, m in messages.items()}
    return found


class _Turn:
    """A message's turn on a connection, and no other after it."""

    def __init__(self, outgoing: Outgoing) -> None:
        self.outgoing = outgoing

    def commit(self, count: int = 1, meanwhile: Any = None) -> list[bool]:
        if meanwhile is not None:
            meanwhile()
        return [True] * count

    def ahead(self) -> None:
        return None

    def look_further(self) -> None:
        return None

    def collect(self) -> None:
        return None


def _deliver(transport: Any, name: str, message: Any) -> str:
    """What went wrong with it, if anything did."""
    outgoing = Outgoing(name, message, tuple(message.recipients()))
    try:
        answers = transport.deliver(_Turn(outgoing)).answers
    except Exception as error:  # noqa: BLE001 - whatever it is, the others are told too
        return repr(error)
    return "; ".join(a.reply for a in answers.values() if a.verdict.name != "ACCEPTED")


def _by_anymail(messages: list[Any]) -> list[Any]:
    backend = sys.modules[ANYMAIL].EmailBackend()
    backend.send_messages(messages)
    return [_params(message) for message in messages]


def _params(message: Any) -> Any:
    """What Anymail tells a service of the message, as JSON."""
    params = dict(message.anymail_test_params)
    params["attachments"] = [
        [a.name, a.mimetype, a.inline, a.cid, b64encode(a.content_bytes).decode()]
        for a in params.get("attachments", ())
    ]
    headers = params.get("extra_headers") or {}
    params["extra_headers"] = {
        name: value for name, value in headers.items() if name.lower() not in {"date", "message-id"}
    }
    return json.loads(json.dumps({k: v for k, v in params.items() if v}, default=str))


def _configure_django() -> None:
    from django.conf import settings as django_settings

    django_settings.configure(ANYMAIL={})
    for module in ("django.core.mail", "anymail.backends.test"):
        import_module(module)


# -- from outside


class Found(NamedTuple):
    """Messages by their composers, and what became of them by worker and backend."""

    composed: dict[str, Any]
    delivered: dict[str, Any]


def run(python: str, *arguments: str, given: Any = None) -> Any:
    """Run this file with that Python; return what it says."""
    done = subprocess.run(
        [python, "-m", "tests.queue.pairs", *arguments],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def composed_by(python: str, family: str, version: str = "") -> Any:
    """The messages that this Python composes, by their shape and a label."""
    return run(python, "compose", family, f"{family}{version}".replace(" ", "-"))


def deliverers() -> list[tuple[str, str]]:
    """Each kind of worker with each backend that it can have."""
    return [(worker, backend) for worker in WORKERS for backend in _backends(worker)]


def _backends(worker: str) -> list[str]:
    others = [f"{home}.{kind}" for kind in ("console", "filebased") for home in (OURS, DJANGO)]
    everybodys = [*SMTP, *others, ANYMAIL]
    return [b for b in everybodys if worker == "Django" or b.startswith(("mailqueue", "tests"))]


def delivered(
    python: str, worker: str, composed: Any, servers: Mapping[str, Any]
) -> dict[str, Any]:
    """What each backend did with all of the messages; with what arrived at its server, if any."""
    texts = {name: m["payload"] for found in composed.values() for name, m in found.items()}
    ports = {b: servers[b].port if b in servers else 0 for b in _backends(worker)}
    results = run(python, "deliver", worker, given={"ports": ports, "texts": texts})
    for backend in results.keys() & servers.keys():
        results[backend]["by"] = backend
        results[backend]["arrived"] = {
            received.parsed["Message-ID"][1:].partition("@")[0]: received
            for received in servers[backend].received
        }
    found: dict[str, Any] = results
    return found


def differences(composed: Any, delivered: Any) -> Iterator[str]:
    """In what messages differ from what they were composed as, at one deliverer."""
    for name, found in composed.items():
        if name in delivered["problems"]:
            if not _is_djangos_own(name, delivered["problems"][name]):
                yield f"{name}: {delivered['problems'][name]}"
        elif "arrived" in delivered:
            direct, is_ours = b64decode(found["direct"]), delivered["by"] == SMTP[0]
            is_exact = name.partition(".")[0] in BUILT_BY_ITSELF or (is_ours and found["is_exact"])
            yield from _at_server(name, delivered["arrived"][name], direct, is_exact)
        elif "anymail" in delivered:
            params = delivered["anymail"][name]
            if found["anymail"] not in (None, params):
                yield f"{name}: {params} instead of {found['anymail']}"
        elif delivered["written"].count(f"Message-ID: <{name}@example.com>") != 1:
            yield f"{name}: not written"


def _is_djangos_own(name: str, problem: str) -> bool:
    """Django's console takes all bytes for UTF-8 since 6.0, also without a queue."""
    return name.startswith("latin.Django") and "UnicodeDecodeError" in problem


def _at_server(name: str, received: Any, direct: bytes, is_exact: bool) -> Iterator[str]:
    found = received.content
    if meaning(found) != meaning(direct):
        yield f"{name}: {meaning(found)} instead of {meaning(direct)}"
    if is_exact and normal(found) != normal(direct):
        yield f"{name}: {found!r} instead of {direct!r}"
    if HIDDEN not in received.recipients:
        yield f"{name}: nothing for {HIDDEN}"


def normal(content: bytes) -> bytes:
    """The bytes with boundaries, which are random or stem from an id, numbered in their order."""
    content = re.sub(rb";\s+boundary", b"; boundary", content)
    for number, boundary in enumerate(dict.fromkeys(_BOUNDARY.findall(content))):
        content = content.replace(boundary, b"boundary-%d" % number)
    return content


def meaning(content: bytes) -> list[Any]:
    """What a reader finds: the header fields, and each part's headers and content."""
    parsed = message_from_bytes(content, policy=policy.default)
    return [_meaning_of(part) for part in parsed.walk()]


def _meaning_of(part: Any) -> Any:
    headers = {
        name.lower(): " ".join(str(value).split())
        for name, value in part.items()
        if name.lower() not in {"content-type", "content-transfer-encoding", "mime-version"}
    }
    if "content-id" in headers:
        headers["content-id"] = headers["content-id"].strip()
    parameters = {k: v for k, v in part.get_params([])[1:] if k not in {"boundary", "charset"}}
    content = None if part.is_multipart() else part.get_content()
    if isinstance(content, str):
        content = content.rstrip("\n")
    return part.get_content_type(), headers, parameters, _charset_of(part), content


def _charset_of(part: Any) -> str | None:
    """The charset, where it isn't that of all texts, or its subset."""
    charset = part.get_content_charset()
    return None if charset in {"utf-8", "us-ascii"} else charset


def main() -> None:
    """Compose or deliver."""
    warnings.simplefilter("ignore")
    try:
        if sys.argv[1] == "compose":
            result = compose(*sys.argv[2:])
        else:
            result = deliver(sys.argv[2], **json.load(sys.stdin))
    except PayloadError as error:
        sys.exit(str(error))
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main()
