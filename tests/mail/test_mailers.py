"""Which backend takes a message: paths, mailers, settings."""

from __future__ import annotations

import json
import pickle
from typing import ClassVar

import pytest

import mailqueue
from mailqueue import get_connection, mailers
from mailqueue.backends import dummy, locmem, smtp
from mailqueue.backends.base import BaseEmailBackend
from mailqueue.errors import ImproperlyConfigured, InvalidMailer, MailerDoesNotExist
from mailqueue.mail.routing import import_backend

SMTP = "mailqueue.backends.smtp.EmailBackend"
DUMMY = "mailqueue.backends.dummy.EmailBackend"


class Narrow:
    """A backend in the newest style, without fail_silently, alias or any other argument."""

    def __init__(self, region="eu"):
        self.region = region


def test_the_default_is_smtp_on_localhost() -> None:
    """Without any setting."""
    backend = get_connection()
    assert type(backend) is smtp.EmailBackend
    assert (backend.host, backend.port) == ("localhost", 25)


def test_email_backend_names_the_default() -> None:
    """The setting EMAIL_BACKEND."""
    mailqueue.configure(EMAIL_BACKEND=DUMMY)
    assert type(get_connection()) is type(mailers.default) is type(mailers["default"])
    assert type(get_connection()) is dummy.EmailBackend


def test_a_path_names_another() -> None:
    """get_connection(path, …) makes that backend with the other arguments."""
    backend = get_connection(SMTP, host="mail.example.com", fail_silently=True)
    assert (backend.host, backend.fail_silently) == ("mail.example.com", True)


def test_an_empty_path_is_the_default() -> None:
    """As where a setting of the program's own is empty."""
    mailqueue.configure(EMAIL_BACKEND=DUMMY)
    assert type(get_connection("")) is dummy.EmailBackend


class Custom(BaseEmailBackend):
    """A program's own backend."""

    sent: ClassVar[list[object]] = []

    def send_messages(self, email_messages):
        self.sent += email_messages
        return len(email_messages)


def test_a_custom_backend_is_named_in_the_settings() -> None:
    """EMAIL_BACKEND takes the path of any class with the methods of the base."""
    mailqueue.configure(EMAIL_BACKEND=f"{__name__}.Custom")
    assert mailqueue.send_mail("Subject", "Body", None, ["bob@example.com"]) == 1
    assert [message.subject for message in Custom.sent] == ["Subject"]


def test_fail_silently_by_position_warns() -> None:
    """As Django 6.0 does."""
    with pytest.warns(DeprecationWarning, match=r"'fail_silently' to get_connection\(\)"):
        assert get_connection(DUMMY, True).fail_silently is True


def test_a_backend_need_not_know_fail_silently(monkeypatch) -> None:
    """The argument is passed only when it is set."""
    monkeypatch.setattr(smtp, "Narrow", Narrow, raising=False)
    assert get_connection("mailqueue.backends.smtp.Narrow").region == "eu"


def test_each_call_makes_a_new_backend() -> None:
    """Two callers never share a connection by accident."""
    mailqueue.configure(MAILERS={"default": {"BACKEND": DUMMY}})
    assert mailers["default"] is not mailers["default"]
    assert get_connection() is not get_connection()


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("nowhere", "nowhere doesn't look like a module path"),
        ("no_such_module.Backend", "No module named 'no_such_module'"),
        ("mailqueue.backends.smtp.Nope", 'does not define a "Nope" attribute/class'),
    ],
)
def test_a_path_that_leads_nowhere(path, text) -> None:
    """ImportError for a path; InvalidMailer, with its alias, in MAILERS."""
    with pytest.raises(ImportError, match=text):
        import_backend(path)
    mailqueue.configure(MAILERS={"news": {"BACKEND": path}})
    with pytest.raises(InvalidMailer, match=rf"MAILERS\['news'\]: Could not find BACKEND .*{text}"):
        mailers["news"]


def test_a_mailer_has_a_backend_and_options() -> None:
    """OPTIONS are the constructor's arguments; the settings EMAIL_… have no say."""
    mailqueue.configure(
        EMAIL_HOST="not.this",
        EMAIL_HOST_USER="nobody",
        EMAIL_USE_TLS=True,
        MAILERS={
            "default": {"BACKEND": DUMMY},
            "news": {"BACKEND": SMTP, "OPTIONS": {"host": "news.example.com", "timeout": 5}},
        },
    )
    backend = mailers["news"]
    assert (backend.host, backend.timeout, backend.alias) == ("news.example.com", 5, "news")
    assert (backend.username, backend.use_tls) == (None, False)
    assert list(mailers) == ["default", "news"]
    assert "news" in mailers
    assert "other" not in mailers


@pytest.mark.parametrize(
    ("options", "port"),
    [({}, 25), ({"use_tls": True}, 587), ({"use_ssl": True}, 465), ({"port": 2525}, 2525)],
)
def test_the_port_of_a_mailer_follows_from_its_encryption(options, port) -> None:
    """465 with SSL, 587 with TLS, else 25."""
    mailqueue.configure(MAILERS={"default": {"OPTIONS": {"host": "x.y", **options}}})
    assert mailers.default.port == port


def test_every_option_of_the_smtp_backend() -> None:
    """The names that Django 6.1 documents."""
    options = {
        "host": "x.y",
        "port": 26,
        "username": "u",
        "password": "p",
        "use_tls": False,
        "use_ssl": True,
        "timeout": 3,
        "ssl_keyfile": "k",
        "ssl_certfile": "c",
        "fail_silently": True,
    }
    mailqueue.configure(MAILERS={"default": {"OPTIONS": options}})
    backend = mailers.default
    assert {name: getattr(backend, name) for name in options} == options


def test_get_connection_returns_the_default_mailer() -> None:
    """Its arguments win over the options, and those that the class doesn't know are left out."""
    mailqueue.configure(MAILERS={"default": {"BACKEND": SMTP, "OPTIONS": {"host": "a", "port": 1}}})
    backend = get_connection(host="b", nonsense=1, fail_silently=True)
    assert (backend.host, backend.port, backend.fail_silently) == ("b", 1, True)


class Keen(BaseEmailBackend):
    """A backend that takes what it knows from its keywords, as Anymail's do."""

    def __init__(self, **kwargs):
        self.login = kwargs.get("username"), kwargs.get("password")
        super().__init__(**kwargs)


class KeenAlone:
    """The same, without any base."""

    def __init__(self, **kwargs):
        self.login = kwargs.get("username"), kwargs.get("password")
        self.given = kwargs


@pytest.mark.parametrize("kind", [Keen, KeenAlone])
def test_user_and_password_reach_a_mailer_that_takes_any_keyword(kind) -> None:
    """A login that was asked for isn't dropped where no parameter has its name."""
    path = f"{__name__}.{kind.__name__}"
    mailqueue.configure(MAILERS={"default": {"BACKEND": path}})
    assert get_connection(username="ann", password="s3cret").login == ("ann", "s3cret")
    assert get_connection().login == (None, None)


def test_a_mailer_without_a_base_gets_what_was_asked_for_and_no_more() -> None:
    """What tells a base class which arguments need not fit is for base classes."""
    mailqueue.configure(MAILERS={"default": {"BACKEND": f"{__name__}.KeenAlone"}})
    given = {"fail_silently": True, "region": "eu"}
    assert get_connection(**given).given == given | {"alias": "default"}


def test_a_login_that_a_mailer_cannot_take_is_an_error() -> None:
    """It must not send as somebody else; what is no login is left out."""
    mailqueue.configure(MAILERS={"default": {"BACKEND": f"{__name__}.Narrow"}})
    assert get_connection(fail_silently=True).region == "eu"
    with pytest.raises(InvalidMailer, match="unexpected keyword argument 'username'"):
        get_connection(username="ann")


@pytest.mark.parametrize("kind", ["locmem", "dummy", "console"])
def test_a_login_is_nothing_to_a_mailer_that_logs_in_nowhere(kind) -> None:
    """In tests and development the functions take the same arguments as in earnest."""
    path = f"mailqueue.backends.{kind}.EmailBackend"
    mailqueue.configure(MAILERS={"default": {"BACKEND": path}})
    assert get_connection(username="ann", password="s3cret").alias == "default"
    vars(mailqueue).pop("outbox", None)


def test_both_spellings_live_side_by_side() -> None:
    """A path may be given although there are MAILERS."""
    mailqueue.configure(MAILERS={"default": {"BACKEND": DUMMY}}, EMAIL_HOST="old.example.com")
    assert get_connection(SMTP).host == "old.example.com"


@pytest.mark.parametrize(
    ("definition", "text"),
    [
        (3, "must be a dictionary, not int"),
        ({"BACKEND": DUMMY, "OPTION": {}}, "Unknown key 'OPTION'"),
        ({"BACKEND": DUMMY, "OPTIONS": []}, "OPTIONS must be a dictionary"),
        ({"BACKEND": DUMMY, "OPTIONS": {"zzz": 1, "yyy": 2}}, "Unknown options 'zzz', 'yyy'"),
        ({"BACKEND": DUMMY, "OPTIONS": {"alias": "x"}}, "OPTIONS must not define 'alias'"),
        ({}, "OPTIONS must define 'host'"),
        (
            {"OPTIONS": {"host": "x", "use_tls": True, "use_ssl": True}},
            "The 'use_ssl' and 'use_tls' OPTIONS are incompatible. Set at most one of them to True",
        ),
        (
            {"BACKEND": "mailqueue.backends.filebased.EmailBackend"},
            "OPTIONS must define 'file_path'",
        ),
        (
            {"BACKEND": "mailqueue.backends.smtp.Narrow", "OPTIONS": {"regoin": "us"}},
            "OPTIONS don't fit .*regoin",
        ),
    ],
)
def test_a_wrong_definition_names_its_mailer(definition, text, monkeypatch) -> None:
    """InvalidMailer, which is an ImproperlyConfigured, with the alias and what is wrong."""
    monkeypatch.setattr(smtp, "Narrow", Narrow, raising=False)
    mailqueue.configure(MAILERS={"news": definition})
    with pytest.raises(InvalidMailer, match=rf"MAILERS\['news'\].*{text}") as raised:
        mailers["news"]
    assert isinstance(raised.value, ImproperlyConfigured)
    assert raised.value.alias == "news"


def test_an_error_never_shows_a_password() -> None:
    """Not even when an option beside it is misspelt."""
    options = {"host": "x.y", "password": "s3cret", "usrname": "ann"}
    mailqueue.configure(MAILERS={"news": {"OPTIONS": options}})
    with pytest.raises(InvalidMailer, match="usrname") as raised:
        mailers["news"]
    assert "s3cret" not in str(raised.value)


def test_a_mailer_that_is_not_there() -> None:
    """MailerDoesNotExist, which is a KeyError, with its alias; get() gives a default instead."""
    mailqueue.configure(MAILERS={"news": {"BACKEND": DUMMY}})
    with pytest.raises(
        MailerDoesNotExist, match=r"^The mailer 'other' is not configured\.$"
    ) as raised:
        mailers["other"]
    assert raised.value.alias == "other"
    copied = pickle.loads(pickle.dumps(raised.value))
    assert (type(copied), str(copied), copied.alias) == (
        MailerDoesNotExist,
        "The mailer 'other' is not configured.",
        "other",
    )
    with pytest.raises(KeyError):
        _ = mailers.default
    assert mailers.get("other") is None
    assert type(mailers.get("news")) is dummy.EmailBackend


def test_a_narrow_backend_can_be_a_mailer(monkeypatch) -> None:
    """It gets its options, and no alias that it has no parameter for."""
    monkeypatch.setattr(smtp, "Narrow", Narrow, raising=False)
    mailqueue.configure(
        MAILERS={
            "n": {"BACKEND": "mailqueue.backends.smtp.Narrow", "OPTIONS": {"region": "us"}},
        }
    )
    assert mailers["n"].region == "us"


def test_an_old_backend_ignores_unknown_arguments() -> None:
    """Outside MAILERS, BaseEmailBackend takes any keyword, as it always has."""
    backend = BaseEmailBackend(fail_silently=True, anything=1)
    assert (backend.fail_silently, backend.alias) == (True, None)


def test_mailers_from_the_environment(monkeypatch) -> None:
    """As JSON; a path to a module instead of a class is found out."""
    path = locmem.EmailBackend.__module__
    monkeypatch.setenv("MAILERS", json.dumps({"a": {"BACKEND": DUMMY}, "b": {"BACKEND": path}}))
    assert type(mailers["a"]) is dummy.EmailBackend
    with pytest.raises(InvalidMailer, match='does not define a "locmem" attribute/class'):
        mailers["b"]


@pytest.mark.parametrize("kind", ["locmem", "dummy", "console", "filebased", "smtp"])
def test_fail_silently_is_an_option_of_every_backend(kind, tmp_path) -> None:
    """A mailer may be silent, whatever its backend."""
    required = {"smtp": {"host": "x.y"}, "filebased": {"file_path": tmp_path}}.get(kind, {})
    path = f"mailqueue.backends.{kind}.EmailBackend"
    options = {"fail_silently": True, **required}
    mailqueue.configure(MAILERS={"quiet": {"BACKEND": path, "OPTIONS": options}})
    assert mailers["quiet"].fail_silently is True
    vars(mailqueue).pop("outbox", None)


def test_no_mailers_are_those_of_the_older_settings() -> None:
    """An empty MAILERS is the same as none."""
    mailqueue.configure(MAILERS={}, EMAIL_BACKEND=DUMMY)
    assert type(mailers.default) is dummy.EmailBackend
