"""Content as it goes over the wire, whoever's class composed it."""

from __future__ import annotations

import re
from email import message_from_bytes, policy
from email.message import EmailMessage as Parsed
from types import ModuleType

import pytest
from django.core import mail as djangos

import mailqueue
from tests.contracts.transports.kinds import Ability, Kind, shown_by
from tests.contracts.transports.wire import Wire
from tests.scripted import Session

SEVEN_BITS = ("PIPELINING", "CHUNKING")
BODIES = {
    "bare CR": "a\rb\r\nc\n",
    "a dot between lines": "a\n.\nb\n",
    "an end of data": "a\r\n.\r\nMAIL FROM:<evil@example.com>\r\n",
    "only dots": ".\n..\n...\n" * 100,
    "dots at both ends": ".\n..\n.hidden\nlast.",
    "a long line": "x" * 1_000_000 + "\n",
    "a long line of words": "some words " * 9_000 + "\n",
    "spaces and tabs at the end": "a \nb\t\n \n",
    "no line's end": "a",
    "nothing": "",
    "umlauts": "Grüße aus Köln\n",
    "eight bits in long lines": "ä" * 10_000 + "\n",
}


@pytest.fixture(params=["ours", "Django's"])
def classes(request: pytest.FixtureRequest) -> ModuleType:
    """Where the message's class is from."""
    return mailqueue if request.param == "ours" else djangos


@pytest.fixture
def in_django(kind: Kind, classes: ModuleType) -> bool:
    """Django's messages need it to be configured, whatever carries them."""
    return kind.uses_django or classes is djangos


def parsed(content: bytes) -> Parsed:
    found = message_from_bytes(content, policy=policy.default)
    assert isinstance(found, Parsed)
    return found


def text_of(part: Parsed) -> str:
    """What a reader sees of it, with the usual line ends."""
    return str(part.get_content()).replace("\r\n", "\n")


def assert_well_formed(wire: Wire) -> None:
    """Only CRLF ends lines, none is longer than RFC 5322 allows, and nothing is NUL."""
    for read in wire.server.bytes.values():
        assert re.search(rb"(?<!\r)\n|\r(?!\n)", read) is None
        assert b"\0" not in read
    for mail in wire.accepted:
        assert max(map(len, mail.content.split(b"\r\n"))) <= 998


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_body_is_well_formed_on_the_wire_and_the_same_afterwards(body, classes, wire) -> None:
    """Whatever it holds: one message, of legal lines, and the reader sees what was written."""
    message = classes.EmailMessage("Hello", body, "from@example.com", ["ann@example.com"])
    assert wire.send(message) == {"sent": 1}
    wire.close()
    (mail,) = wire.accepted
    assert_well_formed(wire)
    wanted = body.replace("\r\n", "\n").replace("\r", "\n")
    assert text_of(parsed(mail.content)).rstrip("\n") == wanted.rstrip("\n")
    assert (mail.sender, mail.recipients) == ("from@example.com", ["ann@example.com"])


@shown_by(Ability.EIGHT_BITS)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_without_8bitmime_a_body_is_written_in_seven_bits(body, classes, make_wire) -> None:
    """The reader sees the same."""
    wire = make_wire(features=SEVEN_BITS)
    message = classes.EmailMessage("Hello", body, "from@example.com", ["ann@example.com"])
    assert wire.send(message) == {"sent": 1}
    (mail,) = wire.accepted
    assert mail.content.isascii()
    assert_well_formed(wire)
    wanted = body.replace("\r\n", "\n").replace("\r", "\n")
    assert text_of(parsed(mail.content)).rstrip("\n") == wanted.rstrip("\n")


@shown_by(Ability.RENDERS)
@pytest.mark.parametrize("features", [None, SEVEN_BITS], ids=["8 bit", "7 bit"])
def test_a_nul_is_encoded(features, classes, make_wire) -> None:
    """RFC 5322 allows none, though Django before 6.0 writes one as it is."""
    wire = make_wire(features=features)
    message = classes.EmailMessage("Hello", "a\0b\n", "from@example.com", ["ann@example.com"])
    assert wire.send(message) == {"sent": 1}
    assert_well_formed(wire)
    assert text_of(parsed(wire.accepted[0].content)) == "a\0b\n"


@shown_by(Ability.EIGHT_BITS)
def test_with_8bitmime_eight_bits_are_announced(classes, wire) -> None:
    """By BODY=8BITMIME, where the content has any, and there only."""
    for body in ("Grüße\n", "Regards\n"):
        message = classes.EmailMessage("Hello", body, "from@example.com", ["ann@example.com"])
        assert wire.send(message) == {"sent": 1}
    said = [c.upper() for _, c in wire.server.commands if c.upper().startswith("MAIL")]
    assert ["BODY=8BITMIME" in command for command in said] == [True, False]
    assert [mail.content.isascii() for mail in wire.accepted] == [False, True]


def test_names_subjects_and_files_outside_ascii_are_read_as_they_were_written(
    classes, wire
) -> None:
    """In the subject, in the names of sender and recipients, in a file's name and its text."""
    message = classes.EmailMultiAlternatives(
        subject="Grüße aus Köln, " * 8,
        body="Grüße\n",
        from_email='"Jörg Müller" <from@example.com>',
        to=['"Änne, die Ältere" <ann@example.com>', "bob@example.com"],
        cc=['"Čeněk" <cy@example.com>'],
        headers={"X-Note": "für später"},
    )
    message.attach_alternative("<p>Grüße</p>\n", "text/html")
    message.attach("Übersicht.txt", "Äpfel und Öl\n", "text/plain")
    message.attach("daten.bin", bytes(range(256)), None)
    assert wire.send(message) == {"sent": 1}
    assert_well_formed(wire)
    (mail,) = wire.accepted
    assert mail.recipients == [f"{name}@example.com" for name in ("ann", "bob", "cy")]
    found = parsed(mail.content)
    assert found["Subject"].strip() == ("Grüße aus Köln, " * 8).strip()
    assert [a.display_name for a in found["From"].addresses] == ["Jörg Müller"]
    assert [a.display_name for a in found["To"].addresses] == ["Änne, die Ältere", ""]
    assert [a.display_name for a in found["Cc"].addresses] == ["Čeněk"]
    assert found["X-Note"] == "für später"
    text, data = found.iter_attachments()
    assert (text.get_filename(), text_of(text)) == ("Übersicht.txt", "Äpfel und Öl\n")
    assert (data.get_filename(), data.get_content()) == ("daten.bin", bytes(range(256)))
    html = found.get_body(("html",))
    assert isinstance(html, Parsed)
    assert text_of(html) == "<p>Grüße</p>\n"


def test_blind_copies_are_in_the_envelope_and_nowhere_else(classes, wire) -> None:
    """A recipient in Bcc gets the message, and nobody reads of it."""
    message = classes.EmailMessage(
        "Hello", "A letter", "from@example.com", ["ann@example.com"], bcc=["bob@example.com"]
    )
    assert wire.send(message) == {"sent": 1}
    (mail,) = wire.accepted
    assert mail.recipients == ["ann@example.com", "bob@example.com"]
    assert b"bob@" not in mail.content


@shown_by(Ability.RENDERS)
@pytest.mark.parametrize("features", [None, SEVEN_BITS], ids=["8 bit", "7 bit"])
def test_each_attempt_sends_the_same_bytes(features, classes, make_wire) -> None:
    """Message-ID, Date, boundaries and all else, however often a server says "later"."""
    wire = make_wire(features=features)
    offered = put_off_three_times(wire)
    message = classes.EmailMultiAlternatives(
        "Grüße", "Grüße\n", "from@example.com", ["ann@example.com"]
    )
    message.attach_alternative("<p>Grüße</p>", "text/html")
    message.attach("a.bin", b"\0\1\2", None)
    wire.send_out(message)
    assert wire.states() == ["sent"]
    assert len(offered) == 4
    assert set(offered) == {wire.accepted[0].content}


def test_each_attempt_sends_the_same_message(classes, wire) -> None:
    """The same Message-ID, Date and text."""
    offered = put_off_three_times(wire)
    wire.send_out(classes.EmailMessage("Hello", "Grüße\n", to=["ann@example.com"]))
    assert len(offered) == 4
    assert set(offered) == {wire.accepted[0].content}
    found = parsed(offered[0])
    assert found["Message-ID"]
    assert found["Date"]


def put_off_three_times(wire: Wire) -> list[bytes]:
    """Have the server say "later" three times; the contents that it is offered."""
    offered: list[bytes] = []

    def script(session: Session, phase: str, command: str) -> str | None:
        if phase != "dot":
            return None
        offered.append(session.mail.content)
        return "451 later" if len(offered) <= 3 else None

    wire.server.script = script
    return offered


def test_a_thousand_recipients_get_a_message_each_once(classes, wire) -> None:
    """In To, folded over lines of a legal length, and one RCPT for each."""
    addresses = [f'"Recipient, No. {n}" <to{n}@example.com>' for n in range(1000)]
    message = classes.EmailMessage("Hello", "A letter", "from@example.com", addresses)
    assert wire.send(message) == {"sent": 1}
    assert_well_formed(wire)
    (mail,) = wire.accepted
    assert mail.recipients == [f"to{n}@example.com" for n in range(1000)]
    assert [str(a) for a in parsed(mail.content)["To"].addresses] == addresses
    assert len(wire.results()) == 1000
