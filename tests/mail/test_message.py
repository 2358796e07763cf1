"""EmailMessage: what it takes, what it holds, where it goes."""

from __future__ import annotations

import email.message
import email.policy

import pytest

import mailqueue
from mailqueue import EmailMessage, EmailMultiAlternatives
from mailqueue.backends.locmem import EmailBackend


def test_every_parameter_becomes_an_attribute() -> None:
    """The parameters can be read back, and set, as attributes of the documented names."""
    message = EmailMessage(
        subject="Hello",
        body="Body goes here",
        from_email="from@example.com",
        to=["to1@example.com", "to2@example.com"],
        cc=("cc@example.com",),
        bcc=["bcc@example.com"],
        reply_to=["another@example.com"],
        attachments=[("a.txt", "text", "text/plain")],
        headers={"Message-ID": "foo"},
        connection="connection",
    )
    assert vars(message) == {
        "subject": "Hello",
        "body": "Body goes here",
        "from_email": "from@example.com",
        "to": ["to1@example.com", "to2@example.com"],
        "cc": ["cc@example.com"],
        "bcc": ["bcc@example.com"],
        "reply_to": ["another@example.com"],
        "attachments": [("a.txt", "text", "text/plain")],
        "extra_headers": {"Message-ID": "foo"},
        "connection": "connection",
    }
    assert (message.content_subtype, message.mixed_subtype, message.encoding) == (
        "plain",
        "mixed",
        None,
    )


def test_every_parameter_is_optional() -> None:
    """A message of nothing has the default sender and no recipients."""
    message = EmailMessage()
    assert (message.subject, message.body, message.from_email) == ("", "", "webmaster@localhost")
    assert message.recipients() == []


def test_the_default_sender_is_a_setting() -> None:
    """Without from_email, DEFAULT_FROM_EMAIL is the sender."""
    mailqueue.configure(DEFAULT_FROM_EMAIL="Shop <shop@example.com>")
    assert EmailMessage("Subject", "Body", None).from_email == "Shop <shop@example.com>"


@pytest.mark.parametrize(
    "sender", ["fred@example.com", '"Fred" <fred@example.com>', "Fred <fred@example.com>"]
)
def test_a_sender_with_a_name_or_without(server, sender) -> None:
    """Each documented form is the From header, and the bare address is the envelope's."""
    assert EmailMessage("s", "b", sender, [sender]).send() == 1
    (got,) = server.messages
    assert (got.mail_from, got.rcpt_tos) == ("fred@example.com", ["fred@example.com"])
    (address,) = EmailMessage("s", "b", sender).message()["From"].addresses
    assert address.display_name == ("Fred" if "Fred" in sender else "")


@pytest.mark.parametrize("name", ["to", "cc", "bcc", "reply_to"])
def test_a_string_is_no_list_of_addresses(name) -> None:
    """A string where a list is due is a TypeError that names the argument."""
    with pytest.raises(TypeError, match=f'"{name}" argument must be a list or tuple'):
        EmailMessage(**{name: "ann@example.com"})


def test_a_string_set_later_is_found_when_the_message_is_sent(outbox) -> None:
    """Setting an attribute to a string does not send mail to one recipient for each letter."""
    message = EmailMessage(to=["ann@example.com"])
    message.to = "bob@example.com"
    with pytest.raises(TypeError, match='"to" argument must be a list or tuple'):
        message.send()
    assert outbox == []


def test_old_positional_parameters_warn() -> None:
    """All but the first four parameters by position still work, and warn."""
    with pytest.warns(DeprecationWarning, match=r"'bcc', 'connection', 'attachments', 'headers'"):
        message = EmailMessage(
            "s", "b", "a@example.com", ["b@example.com"], ["c@example.com"], None, None, {"X": "y"}
        )
    assert (message.bcc, message.extra_headers) == (["c@example.com"], {"X": "y"})


def test_old_positional_parameters_of_alternatives_warn() -> None:
    """In EmailMultiAlternatives the alternatives stand between headers and cc."""
    with pytest.warns(DeprecationWarning, match="to EmailMultiAlternatives"):
        message = EmailMultiAlternatives(
            "s", "b", "a@example.com", [], [], None, None, {}, [("<p>", "text/html")], ["c@d.e"]
        )
    assert message.alternatives[0].content == "<p>"
    assert message.cc == ["c@d.e"]


def test_too_many_positional_parameters_are_an_error() -> None:
    """One more than there are is a TypeError, not a silent loss."""
    with pytest.raises(TypeError, match=r"takes at most 10 positional .* but 11 were given"):
        EmailMessage("s", "b", None, [], [], None, None, {}, [], [], "more")


def test_a_parameter_given_twice_is_an_error() -> None:
    """By position and by name at once is a TypeError that names it."""
    with pytest.raises(TypeError, match=r"both deprecated positional and keyword .* 'bcc'"):
        EmailMessage("s", "b", None, [], ["a@example.com"], bcc=["b@example.com"])


def test_recipients_are_to_cc_and_bcc() -> None:
    """Everyone is listed, in order, without empty entries, which no header has either."""
    message = EmailMessage(to=["a@b.c", ""], cc=["d@e.f"], bcc=["g@h.i", None])
    assert message.recipients() == ["a@b.c", "d@e.f", "g@h.i"]
    assert message.message()["To"] == "a@b.c"


def test_bcc_is_never_in_the_message() -> None:
    """Who is in bcc gets the mail; nobody reads of it."""
    rendered = EmailMessage("s", "b", to=["a@b.c"], bcc=["secret@h.i"]).message().as_bytes()
    assert b"secret" not in rendered
    assert b"bcc" not in rendered.lower()


def test_send_returns_the_number_of_messages(outbox) -> None:
    """A message that was sent counts one."""
    assert EmailMessage("Subject", to=["ann@example.com"]).send() == 1
    assert [message.subject for message in outbox] == ["Subject"]


def test_a_message_to_nobody_is_not_sent(outbox) -> None:
    """An empty list of recipients raises nothing, sends nothing, returns 0."""
    assert EmailMessage("Subject", reply_to=["ann@example.com"]).send() == 0
    assert outbox == []


def test_a_given_connection_is_used(outbox) -> None:
    """The connection of the constructor is preferred to the default backend."""
    mailqueue.configure(EMAIL_BACKEND="nowhere.at.all.EmailBackend")
    assert EmailMessage("Subject", to=["a@b.c"], connection=EmailBackend()).send() == 1
    assert len(outbox) == 1


def test_send_with_connection_and_fail_silently_is_an_error() -> None:
    """The one would be ignored for the other's sake: TypeError."""
    message = EmailMessage("Subject", to=["a@b.c"], connection=EmailBackend())
    with pytest.raises(TypeError, match="fail_silently cannot be used with a connection"):
        message.send(fail_silently=True)


def test_a_subclass_may_add_recipients(outbox) -> None:
    """Overriding recipients() is how a message goes to more people."""

    class Copied(EmailMessage):
        def recipients(self):
            return [*super().recipients(), "archive@example.com"]

    assert Copied("Subject").send() == 1
    assert outbox[0].recipients() == ["archive@example.com"]


def test_message_is_pythons_email_message() -> None:
    """message() returns the modern class, with the default policy."""
    built = EmailMessage("Subject", "Body").message()
    assert isinstance(built, email.message.EmailMessage)
    assert built.policy is email.policy.default


def test_message_takes_a_policy() -> None:
    """A policy for SMTP gives CRLF line ends; one for SMTPUTF8 leaves headers unencoded."""
    message = EmailMessage("Grüße", "a\nb", "Jörg <jörg@bücher.example>", ["ann@example.com"])
    rendered = message.message(policy=email.policy.SMTPUTF8).as_bytes()
    assert b"\n" not in rendered.replace(b"\r\n", b"")
    assert "Subject: Grüße\r\nFrom: Jörg <jörg@bücher.example>\r\n".encode() in rendered


def test_an_old_policy_is_refused() -> None:
    """compat32 has no content manager: a TypeError that says which policy is due."""
    with pytest.raises(TypeError, match=r"policy must be an email.policy.EmailPolicy"):
        EmailMessage("Subject", "Body").message(policy=email.policy.compat32)


def test_what_is_no_string_is_written_as_one() -> None:
    """Lazily translated subjects and bodies, and numbers, are converted."""

    class Lazy:
        def __str__(self):
            return "später"

    built = EmailMessage(Lazy(), Lazy(), headers={"X-Count": 3}).message()
    assert (built["Subject"], built.get_content(), built["X-Count"]) == ("später", "später\n", "3")


def test_an_empty_message_can_be_built() -> None:
    """No subject, no body, no recipients: still a message."""
    built = EmailMessage(None, None).message()
    assert (built["Subject"], built["To"], built.get_content()) == ("", None, "\n")


def test_a_body_of_none_set_later_is_empty() -> None:
    """The word "None" is never mailed."""
    message = EmailMultiAlternatives("s", "b", to=["a@b.c"])
    message.body = None
    assert message.message().get_content() == "\n"
    assert message.body_contains("None") is False


@pytest.mark.parametrize("name", ["to", "cc", "bcc", "reply_to"])
def test_a_list_of_none_set_later_is_empty(name) -> None:
    """None means nobody, as it does in the constructor."""
    message = EmailMessage("s", "b", to=["a@b.c"], cc=["a@b.c"])
    setattr(message, name, None)
    assert set(message.recipients()) == {"a@b.c"}
    header = name.replace("_", "-").title()
    assert header not in message.message()


@pytest.mark.parametrize("name", ["attachments", "alternatives", "extra_headers"])
def test_other_attributes_of_none_set_later_are_empty(name, outbox) -> None:
    """As in the constructor."""
    message = EmailMultiAlternatives("s", "b", to=["a@b.c"])
    setattr(message, name, None)
    assert message.send() == 1
    assert outbox[0].message().get_content() == "b\n"
    assert message.body_contains("b") is True


def test_a_sender_of_none_set_later_is_the_default(server) -> None:
    """In the header and in the envelope."""
    mailqueue.configure(DEFAULT_FROM_EMAIL="Shop <shop@example.com>")
    message = EmailMessage("s", "b", "ann@example.com", ["a@b.c"])
    message.from_email = None
    assert message.send() == 1
    assert server.messages[0].mail_from == "shop@example.com"
    assert b"From: Shop <shop@example.com>\r\n" in server.messages[0].content


def test_a_message_to_nobody_excludes_nothing() -> None:
    """Where nothing is sent, no argument is ignored: 0, as in Django."""
    message = EmailMessage("Subject", connection=EmailBackend())
    assert message.send(fail_silently=True) == 0
    assert EmailMessage("Subject").send(fail_silently=True, using="default") == 0


def test_attributes_may_be_set_until_the_message_is_sent(outbox) -> None:
    """What the constructor takes may be given later, and then holds."""
    message = EmailMultiAlternatives()
    message.subject, message.body, message.from_email = "Subject", "Body", "ann@example.com"
    message.to, message.cc, message.bcc = ["to@b.c"], ["cc@b.c"], ["bcc@b.c"]
    message.reply_to, message.extra_headers = ["reply@b.c"], {"X-Tag": "x"}
    message.attachments = [("a.txt", "text", "text/plain")]
    message.alternatives = [("<p>", "text/html")]
    assert message.send() == 1
    built = outbox[0].message()
    assert [built[name] for name in ("Subject", "From", "To", "Cc", "Reply-To", "X-Tag")] == [
        *["Subject", "ann@example.com", "to@b.c", "cc@b.c", "reply@b.c", "x"]
    ]
    assert outbox[0].recipients() == ["to@b.c", "cc@b.c", "bcc@b.c"]
    assert [part.get_content_type() for part in built.walk() if not part.is_multipart()] == [
        *["text/plain", "text/html", "text/plain"]
    ]


@pytest.mark.parametrize(
    ("subject", "written"), [(None, ""), (b"Gr\xc3\xbc\xc3\x9fe", "Grüße"), (["a", "b"], "a, b")]
)
def test_a_subject_of_another_kind(subject, written) -> None:
    """None is no subject, bytes are UTF-8, a list is joined: no repr() is mailed."""
    assert EmailMessage(subject).message()["Subject"] == written
