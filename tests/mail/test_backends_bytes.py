"""What backends that send, print and keep do to a message, and leave alone."""

from email import message_from_bytes
from email.message import EmailMessage as PythonMessage
from email.message import Message
from email.policy import EmailPolicy, default

import mailqueue
from mailqueue import EmailMessage
from mailqueue.backends import console, dummy, locmem, smtp
from mailqueue.mail.rendering.render import rendered_bytes


def message(body: str = "Body", **options: object) -> EmailMessage:
    return EmailMessage("Subject", body, "ann@example.com", ["bob@example.com"], **options)


class Read:
    """A message that was read by Python's older policy, which leaves headers as they are."""

    from_email = "ann@example.com"

    def recipients(self) -> list[str]:
        return ["bob@example.com"]

    def message(self) -> Message:
        return message_from_bytes(b"Subject: Gr\xc3\xbc\xc3\x9fe\n und mehr\n\nFrom here on\n")


def test_a_from_at_the_start_of_a_line_is_sent_as_it_is(smtp_server):
    """No server gets a ">From", which is for mbox files."""
    backend = smtp.EmailBackend(host="127.0.0.1", port=smtp_server.port)
    assert backend.send_messages([message("Hello\nFrom here on")]) == 1
    assert b"\r\nFrom here on\r\n" in smtp_server.received[0].content


def test_what_the_console_has_sent_is_written(tmp_path):
    """It doesn't wait in a buffer, which a program that is killed would take along."""
    path = tmp_path / "mail.txt"
    with path.open("w", encoding="utf-8") as stream:
        assert console.EmailBackend(stream=stream).send_messages([message("All of it")]) == 1
        assert "All of it" in path.read_text("utf-8")


def test_the_outbox_does_not_copy_a_connection():
    """A message in the outbox has the connection that it was made with, not another like it."""
    connection = dummy.EmailBackend()
    locmem.EmailBackend().send_messages([message(connection=connection)])
    assert mailqueue.outbox.pop().connection is connection


def test_a_folded_header_that_was_read_has_the_line_ends_of_the_wire(smtp_server):
    """Where it isn't ASCII, Python writes it with the line ends that it had: servers refuse LF."""
    backend = smtp.EmailBackend(host="127.0.0.1", port=smtp_server.port)
    assert backend.send_messages([Read()]) == 1
    for content in (smtp_server.received[0].content, rendered_bytes(Read(), "an-id")):
        assert b"und mehr\r\n" in content
        assert b"\n" not in content.replace(b"\r\n", b"")
        assert b"\r\nFrom here on\r\n" in content


class Signed(EmailMessage):
    """A message that is signed as it is built, by a policy that forbids to fold it anew."""

    def message(self, *, policy: EmailPolicy = default) -> PythonMessage:
        built = super().message(policy=policy)
        built.policy = policy.clone(refold_source="none")
        built.set_raw("DKIM-Signature", "v=1; b=" + "q" * 300)
        return built


def test_a_signature_over_headers_stays_valid(smtp_server):
    """What a class forbids to fold anew is sent as it is, though it takes a policy too."""
    backend = smtp.EmailBackend(host="127.0.0.1", port=smtp_server.port)
    signed = Signed("Subject", "Body", "ann@example.com", ["bob@example.com"])
    assert backend.send_messages([signed]) == 1
    line = b"DKIM-Signature: v=1; b=" + b"q" * 300 + b"\r\n"
    assert line in smtp_server.received[0].content
