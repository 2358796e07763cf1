"""send_mail, send_mass_mail, mail_admins and mail_managers."""

from __future__ import annotations

import inspect
import smtplib

import pytest

import mailqueue
from mailqueue import EmailMultiAlternatives, mail_admins, mail_managers, send_mail, send_mass_mail
from mailqueue.backends.locmem import EmailBackend
from mailqueue.errors import ImproperlyConfigured, MailerDoesNotExist

FOUR = ("Subject", "Body", "from@example.com", ["to@example.com"])


@pytest.mark.parametrize(
    ("function", "signature"),
    [
        (
            send_mail,
            "subject, message, from_email, recipient_list, *, fail_silently, auth_user, "
            "auth_password, connection, html_message, using",
        ),
        (
            send_mass_mail,
            "datatuple, *, fail_silently, auth_user, auth_password, connection, using",
        ),
        (mail_admins, "subject, message, *, fail_silently, connection, html_message, using"),
        (mail_managers, "subject, message, *, fail_silently, connection, html_message, using"),
    ],
)
def test_the_signatures_are_djangos(function, signature) -> None:
    """Names, order and what is keyword-only, as of Django 6.1."""
    names = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in names:
            names.append("*")
        names.append(parameter.name)
    assert ", ".join(names) == signature


def test_send_mail(outbox) -> None:
    """One message to all recipients; 1 is returned."""
    assert send_mail("Subject", "Body", None, ["a@example.com", "b@example.com"]) == 1
    (message,) = outbox
    assert (message.subject, message.body, message.from_email, message.to) == (
        "Subject",
        "Body",
        "webmaster@localhost",
        ["a@example.com", "b@example.com"],
    )


def test_send_mail_with_html(outbox) -> None:
    """html_message becomes the alternative."""
    send_mail(*FOUR, html_message="<p>Body</p>")
    assert isinstance(outbox[0], EmailMultiAlternatives)
    assert outbox[0].alternatives == [("<p>Body</p>", "text/html")]


def test_send_mail_to_nobody(outbox) -> None:
    """Nothing is sent, and 0 is returned."""
    assert send_mail("Subject", "Body", None, []) == 0
    assert outbox == []


def test_send_mail_to_a_string(outbox) -> None:
    """A string for the list of recipients is a TypeError."""
    with pytest.raises(TypeError, match='"to" argument must be a list or tuple'):
        send_mail("Subject", "Body", None, "to@example.com")


def test_send_mass_mail(outbox) -> None:
    """A message for each tuple; the number of them is returned."""
    others = ("Subject 2", "Body 2", None, ["a@example.com", "b@example.com"])
    assert send_mass_mail([FOUR, others]) == 2
    assert [(message.subject, message.to) for message in outbox] == [
        ("Subject", ["to@example.com"]),
        ("Subject 2", ["a@example.com", "b@example.com"]),
    ]
    assert send_mass_mail([]) == 0


def test_send_mass_mail_uses_one_connection(server) -> None:
    """However many messages there are, the server sees one session."""
    assert send_mass_mail([FOUR] * 3) == 3
    assert (len(server.messages), server.sessions) == (3, 1)


@pytest.mark.parametrize(
    ("function", "setting"), [(mail_admins, "ADMINS"), (mail_managers, "MANAGERS")]
)
def test_mail_to_the_people_of_the_site(outbox, function, setting) -> None:
    """Subject prefix, server's address and recipients are settings; nothing is returned."""
    mailqueue.configure(**{setting: ["ann@example.com", "Bob <bob@example.com>"]})
    assert function("Subject", "Body", html_message="<p>") is None
    (message,) = outbox
    assert (message.subject, message.from_email) == ("[Django] Subject", "root@localhost")
    assert message.to == ["ann@example.com", "Bob <bob@example.com>"]
    assert message.alternatives == [("<p>", "text/html")]


def test_prefix_and_sender_are_settings(outbox) -> None:
    """EMAIL_SUBJECT_PREFIX and SERVER_EMAIL."""
    mailqueue.configure(EMAIL_SUBJECT_PREFIX="[shop] ", SERVER_EMAIL="s@x.y", ADMINS=["a@b.c"])
    mail_admins("Subject", "Body")
    assert (outbox[0].subject, outbox[0].from_email) == ("[shop] Subject", "s@x.y")


def test_no_people_get_no_mail(outbox) -> None:
    """Empty ADMINS: nothing happens, and no backend is asked for."""
    mail_admins("Subject", "Body")
    mailqueue.configure(EMAIL_BACKEND="no.such.Backend")
    mail_managers("Subject", "Body")
    assert outbox == []


@pytest.mark.parametrize("pair", [("Ann", "ann@example.com"), ["Ann", "ann@example.com"]])
def test_pairs_of_name_and_address_warn(outbox, pair) -> None:
    """The old form of ADMINS still works, with one warning for the whole list."""
    mailqueue.configure(ADMINS=[pair, ("Bob", "bob@example.com")])
    text = r"\(name, address\) pairs in the ADMINS setting"
    with pytest.warns(DeprecationWarning, match=text) as warned:
        mail_admins("Subject", "Body")
    assert [warning.filename for warning in warned] == [__file__]
    assert outbox[0].to == ["ann@example.com", "bob@example.com"]


@pytest.mark.parametrize("function", [mail_admins, mail_managers])
def test_pairs_and_addresses_do_not_mix(outbox, function) -> None:
    """A list of both kinds is ImproperlyConfigured."""
    people = ["ann@example.com", ("Bob", "bob@example.com")]
    mailqueue.configure(ADMINS=people, MANAGERS=people)
    with pytest.raises(ImproperlyConfigured, match="must be a list of email address strings"):
        function("Subject", "Body")
    assert outbox == []


@pytest.mark.parametrize("wrong", [("a", "b", "c"), 1, None, {"a": 1}, b"a@b.c"])
def test_malformed_people_are_an_error(outbox, wrong) -> None:
    """ImproperlyConfigured names the setting and the value."""
    mailqueue.configure(MANAGERS=["ann@example.com", wrong])
    text = "The MANAGERS setting must be a list of email"
    with pytest.raises(ImproperlyConfigured, match=text) as raised:
        mail_managers("Subject", "Body")
    assert repr(wrong) in str(raised.value)
    assert outbox == []


def test_positional_arguments_warn(outbox) -> None:
    """fail_silently and what follows still work by position, and warn."""
    with pytest.warns(DeprecationWarning, match=r"'fail_silently', 'auth_user' to send_mail\(\)"):
        assert send_mail(*FOUR, False, "ann") == 1
    with pytest.warns(DeprecationWarning, match=r"'fail_silently' to send_mass_mail\(\)"):
        assert send_mass_mail([FOUR], True) == 1
    mailqueue.configure(ADMINS=["a@b.c"], MANAGERS=["a@b.c"])
    with pytest.warns(DeprecationWarning, match=r"to mail_admins\(\)"):
        mail_admins("Subject", "Body", False, None, "<p>")
    with pytest.warns(DeprecationWarning, match=r"to mail_managers\(\)"):
        mail_managers("Subject", "Body", False)
    assert len(outbox) == 4


def test_the_warning_points_at_the_caller(outbox) -> None:
    """The line to be changed is the one in the warning."""
    with pytest.warns(DeprecationWarning, match="fail_silently") as warned:
        send_mail(*FOUR, False)
    assert warned[0].filename == __file__


def test_wrong_positional_arguments_are_errors(outbox) -> None:
    """Too many, and one that is given twice."""
    with pytest.raises(TypeError, match="takes at most 9 positional"):
        send_mail(*FOUR, False, None, None, None, None, None)
    with pytest.raises(TypeError, match=r"both deprecated positional and keyword .*fail_silently"):
        send_mail(*FOUR, False, fail_silently=True)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"fail_silently": True}, "fail_silently cannot be used with a connection"),
        ({"auth_user": "ann"}, "auth_user and auth_password cannot be used with a connection"),
        ({"auth_password": "x"}, "auth_user and auth_password cannot be used with a connection"),
        ({"using": "default"}, "'connection' is not compatible with 'using'"),
    ],
)
def test_a_connection_excludes_what_it_would_override(outbox, arguments, text) -> None:
    """Ignoring an argument hides a mistake: TypeError."""
    with pytest.raises(TypeError, match=text):
        send_mail(*FOUR, connection=EmailBackend(), **arguments)
    with pytest.raises(TypeError, match=text):
        send_mass_mail([FOUR], connection=EmailBackend(), **arguments)
    assert outbox == []


@pytest.mark.parametrize("function", [mail_admins, mail_managers])
def test_a_connection_excludes_fail_silently_here_too(function) -> None:
    """Even if there is nobody to write to."""
    with pytest.raises(TypeError, match="fail_silently cannot be used with a connection"):
        function("Subject", "Body", connection=EmailBackend(), fail_silently=True)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"fail_silently": True}, "'fail_silently' is not compatible with 'using'"),
        ({"auth_user": "ann"}, "'auth_user' and 'auth_password' are not compatible with 'using'"),
    ],
)
def test_using_excludes_what_the_mailer_says(arguments, text) -> None:
    """A mailer has options of its own: TypeError."""
    with pytest.raises(TypeError, match=text):
        send_mail(*FOUR, using="default", **arguments)


def test_using_names_a_mailer(outbox) -> None:
    """Every function and send() take the alias of a mailer."""
    mailqueue.configure(
        EMAIL_BACKEND="no.such.Backend",
        MAILERS={"memory": {"BACKEND": "mailqueue.backends.locmem.EmailBackend"}},
        ADMINS=["a@b.c"],
        MANAGERS=["a@b.c"],
    )
    assert send_mail(*FOUR, using="memory") == 1
    assert send_mass_mail([FOUR], using="memory") == 1
    mail_admins("Subject", "Body", using="memory")
    mail_managers("Subject", "Body", using="memory")
    assert mailqueue.EmailMessage(*FOUR).send(using="memory") == 1
    assert len(outbox) == 5
    with pytest.raises(MailerDoesNotExist, match="The mailer 'nobody' is not configured"):
        send_mail(*FOUR, using="nobody")


def test_a_given_connection_is_used(outbox) -> None:
    """By each of the four, in place of the default backend."""
    mailqueue.configure(EMAIL_BACKEND="no.such.Backend", ADMINS=["a@b.c"], MANAGERS=["a@b.c"])
    connection = EmailBackend()
    assert send_mail(*FOUR, connection=connection) == 1
    assert send_mass_mail([FOUR, FOUR], connection=connection) == 2
    mail_admins("Subject", "Body", connection=connection)
    mail_managers("Subject", "Body", connection=connection)
    assert len(outbox) == 5


def test_an_error_of_the_server_is_an_smtp_exception(server) -> None:
    """The documented one, for every refusal; with fail_silently it is a message fewer."""
    server.rcpt_reply = "550 no such user"
    with pytest.raises(smtplib.SMTPException, match="no such user"):
        send_mail(*FOUR)
    with pytest.raises(smtplib.SMTPException, match="no such user"):
        send_mass_mail([FOUR])
    assert send_mail(*FOUR, fail_silently=True) == 0
    assert mailqueue.EmailMessage(*FOUR).send(fail_silently=True) == 0
    mailqueue.configure(ADMINS=["a@b.c"])
    with pytest.raises(smtplib.SMTPException, match="no such user"):
        mail_admins("Subject", "Body")
    mail_admins("Subject", "Body", fail_silently=True)


def test_user_and_password_reach_the_backend(monkeypatch) -> None:
    """auth_user and auth_password win over the settings."""
    seen = []

    class Backend(EmailBackend):
        def __init__(self, username=None, password=None, **kwargs):
            seen.append((username, password))
            super().__init__(**kwargs)

    monkeypatch.setattr("mailqueue.backends.locmem.EmailBackend", Backend)
    mailqueue.configure(EMAIL_BACKEND="mailqueue.backends.locmem.EmailBackend")
    mailqueue.configure(EMAIL_HOST_USER="nobody", EMAIL_HOST_PASSWORD="other")
    send_mail(*FOUR, auth_user="ann", auth_password="s3cret")
    assert seen == [("ann", "s3cret")]
    del mailqueue.outbox


def test_fail_silently_hides_a_server_that_is_not_there() -> None:
    """With it 0 is returned; without it the OSError comes through."""
    mailqueue.configure(EMAIL_HOST="127.0.0.1", EMAIL_PORT=1)
    assert send_mail(*FOUR, fail_silently=True) == 0
    assert send_mass_mail([FOUR], fail_silently=True) == 0
    with pytest.raises(OSError, match="refused"):
        send_mail(*FOUR)
