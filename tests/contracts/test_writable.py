"""What `send()` accepts can be written for any server; what can't is an error of its caller."""

from __future__ import annotations

import os
import subprocess
import sys
from email.message import MIMEPart
from email.mime.base import MIMEBase
from pathlib import Path
from typing import Any

import pytest

from mailqueue import EmailMessage
from mailqueue.delivery.envelope import Outgoing, render
from mailqueue.mail.rendering.render import rendered_bytes
from mailqueue.queue import payload
from tests import profiles

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("family", ["mailqueue", "django"])
def test_any_message_is_written_or_refused(family: str, pytestconfig: pytest.Config) -> None:
    """Property test: whatever hypothesis can build, for servers with and without 8BITMIME."""
    result = subprocess.run(
        [
            *(sys.executable, "-m", "tests.contracts.writable"),
            *(family, *profiles.of(pytestconfig)),
        ],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-6000:]
    assert "'written': " in result.stdout


def letter(**changes: Any) -> EmailMessage:
    values = {"subject": "s", "body": "b", "from_email": "ann@example.com"}
    return EmailMessage(**{**values, "to": ["bob@example.com"], **changes})


def with_part(part: Any) -> EmailMessage:
    message = letter()
    message.attachments.append(part)
    return message


def set_by_hand(payload: Any, encoding: str = "7bit") -> MIMEBase:
    part = MIMEBase("application", "x-thing")
    part.add_header("Content-Disposition", "attachment", filename="a.bin")
    part["Content-Transfer-Encoding"] = encoding
    part.set_payload(payload)
    return part


REFUSED = {
    "Message-ID": letter(headers={"Message-ID": "<é@example.com>"}),
    "line of": letter(headers={"Message-ID": f"<{'x' * 999}@example.com>"}),
    "local-part": letter(reply_to=["é@example.com"]),
    "Content-Disposition": letter(attachments=[("a\nb.pdf", b"%PDF", "application/pdf")]),
    "a.bin: the payload of a part must be text": with_part(set_by_hand(5)),
    "a.bin: a content in the encoding 'x-odd'": with_part(set_by_hand("gr\udcfc", "x-odd")),
    "in the attachment 'a.txt'": letter(attachments=[("a.txt", "\ud800", "text/plain")]),
    "in the body": letter(body="\ud800"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_written_is_refused_and_named(what: str) -> None:
    """By ValueError or TypeError, at send(): a worker could only let the message fail."""
    with pytest.raises((ValueError, TypeError)) as caught:
        payload.dumps(REFUSED[what], "id")
    assert what in str(caught.value)


def test_a_local_part_outside_ascii_may_be_anywhere_where_a_recipients_is() -> None:
    """The server needs SMTPUTF8 then in any case."""
    message = letter(to=["é@example.com"], reply_to=["ü@example.com"])
    message.extra_headers["Message-ID"] = "<é@example.com>"
    loaded = payload.loads(payload.dumps(message, "id"))
    for seven_bit in (False, True):
        data = rendered_bytes(loaded, "id", seven_bit=seven_bit, utf8=True)
        assert "Reply-To: ü@example.com\r\n".encode() in data


def test_finding_out_changes_nothing() -> None:
    """The parts that a program attaches are still its own afterwards."""
    part = MIMEPart()
    part.set_content("Grüße", cte="8bit", charset="iso-8859-1")
    whole = MIMEPart()
    whole.make_mixed()
    whole.attach(part)  # type: ignore[arg-type] # any part will do
    before = (part.items(), part.get_payload(), whole.items())
    payload.dumps(with_part(whole), "id")
    assert (part.items(), part.get_payload(), whole.items()) == before


class Own(EmailMessage):
    """Builds its message in a way of its own."""

    fields: tuple[tuple[str, Any], ...] = ()

    def message(self, **options: Any) -> Any:
        built = super().message(**options)
        for name, value in self.fields:
            built.set_raw(name, value)
        return built


@pytest.mark.parametrize("field", [("X-A", "\xe9"), ("X-A", 5), ("X-A", "a\nBcc: b@x.example")])
def test_what_a_class_builds_itself_is_written_at_send_too(field: tuple[str, Any]) -> None:
    """It travels as it was built, and what can't be written is the caller's error."""
    message = Own("s", "b", "ann@example.com", ["bob@example.com"])
    message.fields = (field,)
    with pytest.raises((ValueError, TypeError), match=r".+"):
        payload.dumps(message, "id")
    message.fields = (("X-A", "a"),)
    assert "X-A: a" in payload.loads(payload.dumps(message, "id")).message().as_string()


def test_who_has_a_message_already_may_need_smtputf8_for_the_others() -> None:
    """His address stands in its headers at each attempt."""
    message = payload.loads(payload.dumps(letter(to=["é@example.com", "bob@example.com"]), "id"))
    envelope = render(Outgoing("id", message, ("bob@example.com",)))
    assert envelope.needs_smtputf8
    assert "To: é@example.com, bob@example.com\r\n".encode() in envelope.data
