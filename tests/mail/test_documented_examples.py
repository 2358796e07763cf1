"""The examples of Django's page "Sending email", with only the import changed."""

from __future__ import annotations

import email.message
import email.utils
import smtplib
import subprocess
import sys
from email.message import MIMEPart

import pytest

import mailqueue
import mailqueue as mail
from mailqueue import (
    EmailMessage,
    EmailMultiAlternatives,
    get_connection,
    mailers,
    send_mail,
    send_mass_mail,
)
from tests.support import wait_until


@pytest.fixture(autouse=True)
def _in_memory(outbox) -> None:
    """All of it goes to the outbox."""


def test_quick_example() -> None:
    """The first example of the page (1.3 to 6.1)."""
    send_mail(
        "Subject here",
        "Here is the message.",
        "from@example.com",
        ["to@example.com"],
        fail_silently=False,
    )
    assert mailqueue.outbox[0].body == "Here is the message."


def test_quick_example_of_a_multipart_message() -> None:
    """Text, HTML and a header (5.2, 6.1)."""
    msg = EmailMultiAlternatives(
        subject="Subject here",
        body="text",
        from_email="from@example.com",
        to=["to@example.com"],
        headers={"List-Unsubscribe": "<mailto:unsub@example.com>"},
    )
    msg.attach_alternative("<p>html</p>", "text/html")
    assert msg.send() == 1
    built = mailqueue.outbox[0].message()
    assert built["List-Unsubscribe"] == "<mailto:unsub@example.com>"


def test_mass_mail() -> None:
    """Two messages over one connection."""
    message1 = (
        "Subject here",
        "Here is the message",
        "from@example.com",
        ["first@example.com", "other@example.com"],
    )
    message2 = (
        "Another Subject",
        "Here is another message",
        "from@example.com",
        ["second@test.com"],
    )
    assert send_mass_mail((message1, message2), fail_silently=False) == 2


def test_one_mail_to_two_and_two_mails_to_one() -> None:
    """send_mail shows both recipients, send_mass_mail each only himself."""
    send_mail("Subject", "Message.", "from@example.com", ["john@example.com", "jane@example.com"])
    datatuple = (
        ("Subject", "Message.", "from@example.com", ["john@example.com"]),
        ("Subject", "Message.", "from@example.com", ["jane@example.com"]),
    )
    send_mass_mail(datatuple)
    assert [m.message()["To"] for m in mailqueue.outbox] == [
        "john@example.com, jane@example.com",
        "john@example.com",
        "jane@example.com",
    ]


def test_the_email_message_class() -> None:
    """The parameters, by name (6.1)."""
    message = EmailMessage(
        subject="Hello",
        body="Body goes here",
        from_email="from@example.com",
        to=["to1@example.com", "to2@example.com"],
        bcc=["bcc@example.com"],
        reply_to=["another@example.com"],
        headers={"Message-ID": "foo"},
    )
    assert message.send() == 1
    assert message.message()["Message-ID"] == "foo"


def test_the_email_message_class_of_older_pages() -> None:
    """The same with bcc by position (1.3 to 5.2), which warns."""
    with pytest.warns(DeprecationWarning, match="'bcc'"):
        message = EmailMessage(
            "Hello",
            "Body goes here",
            "from@example.com",
            ["to1@example.com", "to2@example.com"],
            ["bcc@example.com"],
            reply_to=["another@example.com"],
            headers={"Message-ID": "foo"},
        )
    assert message.recipients() == ["to1@example.com", "to2@example.com", "bcc@example.com"]


def test_the_email_message_class_of_the_oldest_page() -> None:
    """Reply-To by headers, before there was reply_to (1.3)."""
    with pytest.warns(DeprecationWarning, match="'bcc'"):
        email = EmailMessage(
            "Hello",
            "Body goes here",
            "from@example.com",
            ["to1@example.com", "to2@example.com"],
            ["bcc@example.com"],
            headers={"Reply-To": "another@example.com"},
        )
    assert email.send() == 1
    assert mailqueue.outbox[0].message()["Reply-To"] == "another@example.com"


def test_attach_and_attach_file(tmp_path) -> None:
    """An image from memory and one from the file system."""
    message = EmailMessage("s", "b", "from@example.com", ["to@example.com"])
    message.attach("design.png", b"\x89PNG", "image/png")
    (tmp_path / "weather_map.png").write_bytes(b"\x89PNG")
    message.attach_file(tmp_path / "weather_map.png")
    assert [a.filename for a in message.attachments] == ["design.png", "weather_map.png"]


def test_an_inline_image() -> None:
    """With a Content-ID that the HTML refers to (6.0)."""
    message = EmailMultiAlternatives("s", "b", "from@example.com", ["to@example.com"])
    cid = email.utils.make_msgid()
    inline_image = MIMEPart()
    inline_image.set_content(
        b"\x89PNG", maintype="image", subtype="png", disposition="inline", cid=cid
    )
    message.attach(inline_image)
    message.attach_alternative(f'… <img src="cid:{cid[1:-1]}"> …', "text/html")
    assert message.send() == 1
    assert cid.encode() in mailqueue.outbox[0].message().as_bytes()


def test_text_and_html() -> None:
    """attach_alternative."""
    subject, from_email, to = "hello", "from@example.com", "to@example.com"
    text_content = "This is an important message."
    html_content = "<p>This is an <strong>important</strong> message.</p>"
    msg = EmailMultiAlternatives(subject, text_content, from_email, [to])
    msg.attach_alternative(html_content, "text/html")
    msg.send()
    assert len(msg.alternatives) == 1
    assert msg.alternatives[0].content == html_content
    assert msg.alternatives[0].mimetype == "text/html"


def test_body_contains() -> None:
    """As in the tests of an application."""
    msg = EmailMultiAlternatives(
        "Hello World", "I am content.", "from@example.com", ["to@example.com"]
    )
    msg.attach_alternative("<p>I am content.</p>", "text/html")
    assert msg.body_contains("I am content") is True
    assert msg.body_contains("<p>I am content.</p>") is False


def test_html_only() -> None:
    """content_subtype."""
    msg = EmailMessage("subject", "<p>html</p>", "from@example.com", ["to@example.com"])
    msg.content_subtype = "html"
    msg.send()
    assert mailqueue.outbox[0].message().get_content_type() == "text/html"


@pytest.mark.parametrize("error", [ValueError, mailqueue.BadHeaderError])
@pytest.mark.parametrize("field", ["subject", "message", "from_email"])
def test_header_injection_from_a_form(error, field) -> None:
    """The contact form of the pages, which catch BadHeaderError (1.3, 5.2) or ValueError (6.0)."""

    def send_email(post):
        subject = post.get("subject", "")
        message = post.get("message", "")
        from_email = post.get("from_email", "")
        if subject and message and from_email:
            try:
                send_mail(subject, message, from_email, ["admin@example.com"])
            except error:
                return "Invalid header found."
            return "/contact/thanks/"
        else:  # noqa: RET505 - as it is documented
            # In reality we'd use a form class
            # to get proper validation errors.
            return "Make sure all fields are entered and valid."

    form = {"subject": "s", "message": "m", "from_email": "f@example.com"}
    assert send_email(form | {field: ""}) == "Make sure all fields are entered and valid."
    for end in ["\n", "\r\n", "\r"]:
        found = send_email(form | {field: f"{form[field]}{end}Bcc: many@example.com"})
        assert found == ("/contact/thanks/" if field == "message" else "Invalid header found.")
    assert len(mailqueue.outbox) == (3 if field == "message" else 0)
    assert {sent.recipients()[0] for sent in mailqueue.outbox} <= {"admin@example.com"}


def test_headers_at_the_start_of_a_body_are_only_text() -> None:
    """A body that looks like headers is printed as the first bit of the body."""
    send_mail("s", "Bcc: many@example.com\n\nbody", None, ["admin@example.com"])
    built = mailqueue.outbox[0].message()
    assert built["Bcc"] is None
    assert built.get_content().startswith("Bcc: many@example.com\n")


def test_many_messages_with_one_call() -> None:
    """send_messages of the default backend."""
    connection = get_connection()
    messages = [EmailMessage("s", "b", None, [f"to{n}@example.com"]) for n in range(3)]
    assert connection.send_messages(messages) == 3
    assert mailers.default.send_messages(messages) == 3


def test_many_messages_with_open_and_close() -> None:
    """The connection is opened and closed by hand."""
    connection = get_connection()
    connection.open()
    email1 = EmailMessage(
        "Hello", "Body goes here", "from@example.com", ["to1@example.com"], connection=connection
    )
    email1.send()
    email2 = EmailMessage("Hi", "Message", None, ["to2@example.com"])
    email3 = EmailMessage("Hi", "Message", None, ["to3@example.com"])
    connection.send_messages([email2, email3])
    connection.close()
    assert len(mailqueue.outbox) == 3


def test_many_messages_with_a_context_manager(server) -> None:
    """The same over SMTP: three messages, one session."""
    with get_connection() as connection:
        email1 = EmailMessage(
            "Hello",
            "Body goes here",
            "from@example.com",
            ["to1@example.com"],
            connection=connection,
        )
        email1.send()
        email2 = EmailMessage("Hi", "Message", None, ["to2@example.com"])
        email3 = EmailMessage("Hi", "Message", None, ["to3@example.com"])
        connection.send_messages([email2, email3])
    assert (len(server.messages), server.sessions) == (3, 1)


def test_a_backend_as_a_context_manager(server) -> None:
    """Two messages that are made, sent and forgotten, in one session (5.2, 6.0)."""
    subject1, body1, from1, to1 = "one", "body", "from@example.com", "to1@example.com"
    subject2, body2, from2, to2 = "two", "body", "from@example.com", "to2@example.com"
    with mail.get_connection() as connection:
        mail.EmailMessage(
            subject1,
            body1,
            from1,
            [to1],
            connection=connection,
        ).send()
        mail.EmailMessage(
            subject2,
            body2,
            from2,
            [to2],
            connection=connection,
        ).send()
    assert (len(server.messages), server.sessions) == (2, 1)


@pytest.mark.parametrize("kind", ["smtp", "console", "filebased", "locmem", "dummy"])
def test_the_settings_of_each_backend(kind, tmp_path) -> None:
    """EMAIL_BACKEND, with mailqueue for django.core.mail in the path, and EMAIL_FILE_PATH."""
    mailqueue.configure(
        EMAIL_BACKEND=f"mailqueue.backends.{kind}.EmailBackend",
        EMAIL_FILE_PATH=str(tmp_path / "app-messages"),
    )
    assert type(get_connection()).__module__ == f"mailqueue.backends.{kind}"


def test_a_server_for_development(unused_port) -> None:
    """The server that the pages recommend prints what is sent to it."""
    command = [sys.executable, "-u", "-m", "aiosmtpd", "-n", "-l", f"127.0.0.1:{unused_port}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            wait_until(lambda: _listens(unused_port), 20)
            mailqueue.configure(
                EMAIL_BACKEND="mailqueue.backends.smtp.EmailBackend",
                EMAIL_HOST="127.0.0.1",
                EMAIL_PORT=unused_port,
            )
            send_mail("Subject here", "Here is the message.", None, ["to@example.com"])
        finally:
            process.terminate()
        printed = process.stdout.read()
    assert "Subject: Subject here\n" in printed
    assert "\nHere is the message.\n" in printed


def _listens(port: int) -> bool:
    try:
        smtplib.SMTP("127.0.0.1", port).close()
    except OSError:
        return False
    return True


def test_mailers() -> None:
    """The settings of "Migrating email to mailers" (6.1)."""
    mailqueue.configure(
        MAILERS={
            "default": {
                "BACKEND": "mailqueue.backends.smtp.EmailBackend",
                "OPTIONS": {
                    "host": "mail.example.net",
                    "use_tls": True,
                    "username": "user@example.net",
                    "password": "password",
                },
            },
            "custom": {"BACKEND": "mailqueue.backends.locmem.EmailBackend"},
        }
    )
    assert (mailers.default.host, mailers.default.port) == ("mail.example.net", 587)
    assert send_mail("s", "b", None, ["to@example.com"], using="custom") == 1
    assert mailers["custom"].send_messages([EmailMessage("s", to=["to@example.com"])]) == 1
    assert len(mailqueue.outbox) == 2


def test_a_message_attached_to_a_message() -> None:
    """message/rfc822 from Python's class and from ours."""
    inner = email.message.EmailMessage()
    inner["Subject"] = "inner"
    inner.set_content("text")
    message = EmailMessage("s", "b", None, ["to@example.com"])
    message.attach("a.eml", inner, "message/rfc822")
    message.attach("b.eml", EmailMessage("inner", "text"), "message/rfc822")
    assert message.message().as_bytes().count(b"\nSubject: inner\n") == 2
