"""Content that is hard to carry, and content that somebody has tampered with."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import Message
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection, Producer

from mailqueue import EmailMessage
from mailqueue.delivery.envelope import Outgoing, render
from mailqueue.errors import BadHeaderError
from mailqueue.monitor import report
from mailqueue.queue import payload
from mailqueue.queue.broker import producer_app
from mailqueue.queue.journal import Entry, open_journal
from mailqueue.queue.publisher import publish
from tests.line import Line, copies, fate, letters, line, send, states, wait_for
from tests.scripted import ScriptedServer, Session
from tests.support import wait_until

pytestmark = pytest.mark.usefixtures("producer")
EIGHT_BIT = ("PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 100000000")
SEVEN_BIT = ("PIPELINING",)

wire = line("wire", *EIGHT_BIT, MAILQUEUE_RETRY="1s*6")


@pytest.fixture
def server(wire: Line, redis_url, monkeypatch) -> Iterator[ScriptedServer]:
    """A scripted server that a worker delivers to; both are alive and well at the end."""
    yield wire.as_new(monkeypatch)
    before = states()["sent"]
    send(1)
    wait_until(lambda: states()["sent"] == before + 1, 20, wire.worker.explain)
    assert b"Subject: News 0" in wire.server.accepted[-1].content


def assert_well_formed(content: bytes) -> None:
    """Only CRLF ends lines, none is longer than RFC 5322 allows, and nothing is NUL."""
    assert re.search(rb"(?<!\r)\n|\r(?!\n)", content) is None
    assert max(map(len, content.split(b"\r\n"))) <= 998
    assert b"\0" not in content


def read(content: bytes) -> str:
    """What a reader sees of the body, with the usual line ends."""
    return message_from_bytes(content, policy=policy.default).get_content().replace("\r\n", "\n")


BODIES = {
    "bare CR": "a\rb\r\nc\n",
    "a dot between lines": "a\n.\nb\n",
    "an end of data": "a\r\n.\r\nMAIL FROM:<evil@example.com>\r\n",
    "only dots": ".\n..\n...\n" * 100,
    "NUL": "a\0b\n",
    "a line of 1 MB": "x" * 1_000_000 + "\n",
    "a line of 1 MB in words": "some words " * 90_000 + "\n",
    "spaces and tabs at the end": "a \nb\t\n \n",
    "no line's end": "a",
    "nothing": "",
    "eight bits in long lines": "ä" * 100_000 + "\n",
}


@pytest.mark.parametrize("features", [EIGHT_BIT, SEVEN_BIT], ids=["8 bit", "7 bit"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_body_is_correct_on_the_wire_and_the_same_afterwards(body, features, server):
    """Whatever it holds: well-formed lines, one message, and the reader sees what was written."""
    server.features = features
    send(1, body=body)
    wait_for({"sent": 1})
    (mail,) = server.accepted
    assert_well_formed(mail.content)
    wanted = body.replace("\r\n", "\n").replace("\r", "\n")
    assert read(mail.content).rstrip("\n") == wanted.rstrip("\n")
    assert (mail.sender, mail.recipients) == ("news@example.com", ["to0@example.com"])


@pytest.mark.parametrize(
    "place", ["subject", "body", "to", "cc", "bcc", "from_email", "header", "file name"]
)
def test_a_lone_surrogate_is_refused_at_send(place):
    """It is half a character, and has no form on the wire: ValueError, and nothing is accepted."""
    (message,) = letters(1)
    match place:
        case "to" | "cc" | "bcc":
            setattr(message, place, ["a\ud800@example.com"])
        case "from_email":
            message.from_email = "a\ud800@example.com"
        case "header":
            message.extra_headers["X-Note"] = "a\ud800"
        case "file name":
            message.attach("a\ud800.txt", b"content", "text/plain")
        case _:
            setattr(message, place, "a\ud800")
    with pytest.raises(ValueError, match=r".+"):
        message.send()
    assert report.find(report.Filter()) == []


def test_a_thousand_recipients_get_a_message_each_once(server):
    """In To, folded over lines of a legal length, and one RCPT for each."""
    addresses = [f'"Recipient, No. {n}" <to{n}@example.com>' for n in range(1000)]
    (message,) = send(1, to=addresses)
    wait_for({"sent": 1})
    (mail,) = server.accepted
    assert mail.recipients == [f"to{n}@example.com" for n in range(1000)]
    assert_well_formed(mail.content)
    header = message_from_bytes(mail.content, policy=policy.default)["To"]
    assert [str(address) for address in header.addresses] == addresses
    assert len(fate(message)["recipients"]) == 1000


@pytest.mark.parametrize("features", [EIGHT_BIT, SEVEN_BIT], ids=["8 bit", "7 bit"])
def test_five_retries_send_the_same_bytes(features, server):
    """Message-ID, Date, boundaries and all else, each time that a server says "later"."""
    server.features = features
    offered = []

    def script(session: Session, phase: str, command: str) -> str | None:
        if phase != "dot":
            return None
        offered.append(session.mail.content)
        return "451 later" if len(offered) <= 5 else None

    server.script = script
    (message,) = letters(1, body="Grüße\n")
    message.attach("a.txt", "Text", "text/plain")
    message.attach("a.bin", b"\0\1\2", None)
    assert message.send() == 1
    wait_for({"sent": 1})
    server.script = lambda *_: None
    assert len(offered) == 6
    assert set(offered) == {server.accepted[0].content}
    parsed = message_from_bytes(offered[0], policy=policy.default)
    assert parsed["Message-ID"]
    assert parsed["Date"]
    assert copies(server) == [1]


# -- injection

INJECTED = ["\r\nBcc: evil@example.com", "\nBcc: evil@example.com", "\rBcc: evil@example.com"]


def spoiled(place: str, injected: str) -> EmailMessage:
    (message,) = letters(1)
    match place:
        case "subject":
            message.subject += injected
        case "header value":
            message.extra_headers["X-Note"] = "note" + injected
        case "header name":
            message.extra_headers["X-Note: 1" + injected + "\r\nX-Rest"] = "value"
        case "to" | "cc" | "bcc" | "reply_to":
            setattr(message, place, [*getattr(message, place), "ann@example.com" + injected])
        case "name of an address":
            message.to = [f'"Ann{injected}" <ann@example.com>']
        case "envelope sender":
            message.from_email = f"ann@example.com>{injected}"
        case "file name":
            message.attach("a.txt" + injected, "content", "text/plain")
        case "type of an attachment":
            message.attach("a.txt", "content", "text/plain" + injected)
        case "type of an alternative":
            message.content_subtype = "plain" + injected
    return message


PLACES = [
    "subject", "header value", "header name", "to", "cc", "bcc", "reply_to", "name of an address",
    "envelope sender", "file name", "type of an attachment", "type of an alternative",
]  # fmt: skip


@pytest.mark.parametrize("injected", INJECTED, ids=["CRLF", "LF", "CR"])
@pytest.mark.parametrize("place", PLACES)
def test_a_line_end_where_none_may_be_is_an_error_at_send(place, injected):
    """Before anything is accepted, whichever header, address or name it is in."""
    with pytest.raises(ValueError, match=r".+"):
        spoiled(place, injected).send()
    assert report.find(report.Filter()) == []


def forged(place: str, injected: str) -> str:
    """A payload with what ``send()`` refuses, as one who can write to the journal would make it."""
    (message,) = letters(1)
    message.attach("a.txt", "content", "text/plain")
    message.cc = message.bcc = message.reply_to = ["ann@example.com"]
    found = payload.parse(payload.dumps(message, "forged"))
    bad = spoiled(place, injected) if "attach" not in place and "file" not in place else None
    match place:
        case "file name":
            found["attachments"][0]["filename"] += injected
        case "type of an attachment":
            found["attachments"][0]["mimetype"] += injected
        case "type of an alternative":
            found["content_subtype"] += injected
        case "header value" | "header name":
            assert bad is not None
            found["headers"] |= bad.extra_headers
        case _:
            for name in ("subject", "from_email", "to", "cc", "bcc", "reply_to"):
                found[name] = getattr(bad, name) or found[name]
    return json.dumps(found)


def accept(id_: str, text: str) -> None:
    """Put a payload into the journal, past all that ``send()`` checks."""
    summary = {"subject": "", "from": "", "to": []}
    digest = sha256(text.encode()).hexdigest()
    open_journal().accept([Entry(id_, text, digest, summary)])
    publish(open_journal().queue, [(id_, "")])


@pytest.mark.parametrize("place", PLACES)
def test_a_line_end_in_the_journal_does_not_reach_the_wire(place, server):
    """A forged payload is failed, its bytes are kept, and nothing of it was said to the server."""
    texts = [forged(place, injected) for injected in INJECTED]
    for number, text in enumerate(texts):
        accept(f"forged-{number}", text)
    wait_for({"failed": 3})
    assert server.accepted == []
    assert "evil@example.com" not in str(server.commands)
    assert [open_journal().payload(f"forged-{n}") for n in range(3)] == texts


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("from_email", "ann@example.com>\r\nRCPT TO:<evil@example.com"),
        ("recipients", ["ann@example.com>\r\nRCPT TO:<evil@example.com"]),
    ],
)
def test_the_envelope_of_a_rendered_message_is_checked_before_the_wire(field, value, server):
    """What travelled as MIME has no headers to be checked, but its envelope makes commands."""
    found = {
        "v": 1, "id": "forged", "kind": "rendered", "subject": "s", "from_email": "ann@example.com",
        "recipients": ["bob@example.com"], "mime": "U3ViamVjdDogcwoKYm9keQo=",
    }  # fmt: skip
    accept("forged", json.dumps(found | {field: value}))
    wait_for({"failed": 1})
    assert "evil@example.com" not in str(server.commands)


class Foreign:
    """A message that somebody else's class builds, with Python's older policy."""

    from_email = "ann@example.com"

    def __init__(self, name: str, value: str) -> None:
        self.built = Message()
        self.built[name] = value

    def message(self) -> Message:
        return self.built


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((f"X: 1{injected}\r\nY", "value") for injected in INJECTED),
        *(("X", f"value{injected}") for injected in INJECTED),
    ],
)
def test_a_header_is_one_header_whoever_built_it(name, value):
    """What Python or Django 5.2 would write as two is refused; a folded one is fine."""
    with pytest.raises(BadHeaderError, match="as several"):
        render(Outgoing("id", Foreign(name, value), ("bob@example.com",)))
    folded = render(Outgoing("id", Foreign("X", "a\r\n b\n\tc"), ("bob@example.com",)))
    assert folded.data.startswith(b"X: a\r\n b\r\n\tc\r\n")


# -- what isn't ours in the broker


class Bomb:
    """Unpickled, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


CONTENT_TYPES = {
    "pickle": "application/x-python-serialize",
    "yaml": "application/x-yaml",
    "msgpack": "application/x-msgpack",
}


@pytest.mark.parametrize("kind", CONTENT_TYPES)
def test_no_code_in_the_broker_runs(kind, server, wire, redis_url, tmp_path):
    """A task in another form than JSON is refused unread, and the worker goes on."""
    path = tmp_path / "written-by-a-task"
    body: Any = pickle.dumps(Bomb(path))
    if kind == "yaml":
        body = f"!!python/object/apply:os.system ['touch {path}']"
    headers = {"task": "mailqueue.deliver", "id": "1", "lang": "py"}
    with Connection(redis_url) as broker, broker.channel() as channel:
        Producer(channel).publish(
            body,
            routing_key=wire.queue,
            content_type=CONTENT_TYPES[kind],
            content_encoding="binary" if kind != "yaml" else "utf-8",
            headers=headers,
        )
    wait_until(lambda: "ContentDisallowed" in wire.worker.log.read_text(), 20, wire.worker.explain)
    assert not path.exists()
    assert server.commands == []


@pytest.mark.parametrize("name", ["os.system", "mailqueue.tasks.open_journal", "celery.nothing"])
def test_an_unknown_task_is_not_run(name, server, wire):
    """Its name is looked up among the worker's tasks and nowhere else."""
    producer_app().send_task(name, ["touch /nowhere"], queue=wire.queue, ignore_result=True)
    wait_until(lambda: f"'{name}'" in wire.worker.log.read_text(), 20, wire.worker.explain)
    assert server.commands == []


@pytest.mark.parametrize(
    "arguments",
    [{}, {"queue": 17, "messages": 17}, {"queue": "wire", "messages": [{"payload": "x"}]},
     {"queue": "wire", "messages": ["id"]}, {"queue": {}, "messages": [{"id": None}]}],
    ids=str,
)  # fmt: skip
def test_a_task_with_wrong_arguments_sends_nothing(arguments, server, wire):
    """It fails or finds nothing, and the worker goes on."""
    task = producer_app().send_task(
        "mailqueue.deliver", kwargs=arguments, queue=wire.queue, ignore_result=True
    )
    done = re.compile(rf"{task.id}\] (succeeded|raised unexpected)")
    wait_until(lambda: done.search(wire.worker.log.read_text()), 20, wire.worker.explain)
    assert server.commands == []
