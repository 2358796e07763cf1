"""What `send()` refuses, forged into the journal, does not reach the wire."""

from __future__ import annotations

import json
from email.message import Message

import pytest

from mailqueue import EmailMessage
from mailqueue.delivery.envelope import Outgoing, render
from mailqueue.errors import BadHeaderError
from mailqueue.queue import payload
from tests.contracts.transports.kinds import Ability, shown_by
from tests.contracts.transports.wire import Wire, letters
from tests.injected import INJECTED, PLACES, spoiled


def forged(place: str, injected: str) -> str:
    """A payload with what `send()` refuses, as one who can write to the journal would make it."""
    (message,) = letters(1)
    message.attach("a.txt", "content", "text/plain")
    message.cc = message.bcc = message.reply_to = ["ann@example.com"]
    found = payload.parse(payload.dumps(message, "forged"))
    match place:
        case "file name":
            found["attachments"][0]["filename"] += injected
        case "type of an attachment":
            found["attachments"][0]["mimetype"] += injected
        case "type of an alternative":
            found["content_subtype"] += injected
        case "header value" | "header name":
            found["headers"] |= spoiled(EmailMessage(to=["ann@example.com"]), place, injected)[1]
        case _:
            bad, _ = spoiled(letters(1)[0], place, injected)
            for name in ("subject", "from_email", "to", "cc", "bcc", "reply_to"):
                found[name] = getattr(bad, name) or found[name]
    return json.dumps(found)


@pytest.mark.parametrize("place", [place for place in PLACES if place != "header name"])
def test_a_line_end_in_the_journal_does_not_reach_the_wire(place: str, wire: Wire) -> None:
    """A forged payload is not sent, its bytes are kept, and what was injected is never said."""
    assert_kept_from_the_wire(place, wire)


@shown_by(Ability.NAMES)
def test_a_line_end_in_a_headers_name_does_not_reach_the_wire(wire: Wire) -> None:
    """Nor does what follows it."""
    assert_kept_from_the_wire("header name", wire)


def assert_kept_from_the_wire(place: str, wire: Wire) -> None:
    texts = [forged(place, injected) for injected in INJECTED]
    ids = [f"forged{n}" for n in range(len(texts))]
    for id_, text in zip(ids, texts, strict=True):
        wire.accept_payload(id_, text)
    wire.deliver(*ids)
    assert "sent" not in wire.states()
    if wire.kind.renders:
        assert set(wire.states()) == {"failed"}
    assert wire.accepted == []
    assert b"evil@example.com" not in b"".join(map(bytes, wire.server.bytes.values()))
    assert [wire.journal.payload(id_) for id_ in ids] == texts
    assert wire.send(*letters(1)) == {"sent": 1}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("from_email", "ann@example.com>\r\nRCPT TO:<evil@example.com"),
        ("recipients", ["ann@example.com>\r\nRCPT TO:<evil@example.com"]),
    ],
)
def test_the_envelope_of_a_rendered_message_is_checked_before_the_wire(
    field: str, value: object, wire: Wire
) -> None:
    """What travelled as MIME has no headers to be checked, but its envelope makes commands."""
    found = {
        "v": 1, "id": "forged", "kind": "rendered", "subject": "s", "from_email": "ann@example.com",
        "recipients": ["bob@example.com"], "mime": "U3ViamVjdDogcwoKYm9keQo=",
    }  # fmt: skip
    wire.accept_payload("forged", json.dumps(found | {field: value}))
    wire.deliver("forged")
    assert wire.state("forged") != "sent"
    if wire.kind.renders:
        assert wire.state("forged") == "failed"
    assert b"evil@example.com" not in b"".join(map(bytes, wire.server.bytes.values()))


class Foreign:
    """A message that somebody else's class builds, with Python's older policy."""

    from_email = "ann@example.com"

    def __init__(self, name: str, value: str) -> None:
        self.built = Message()
        self.built[name] = value

    def recipients(self) -> list[str]:
        return ["bob@example.com"]

    def message(self) -> Message:
        return self.built


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((f"X: 1{injected}\r\nY", "value") for injected in INJECTED),
        *(("X", f"value{injected}") for injected in INJECTED),
    ],
)
def test_a_header_is_one_header_whoever_built_it(name: str, value: str) -> None:
    """What Python or Django 5.2 would write as two is refused; a folded one is fine."""
    with pytest.raises(BadHeaderError, match="as several"):
        render(Outgoing("id", Foreign(name, value), ("bob@example.com",)))
    folded = render(Outgoing("id", Foreign("X", "a\r\n b\n\tc"), ("bob@example.com",)))
    assert folded.data.startswith(b"X: a\r\n b\r\n\tc\r\n")
