"""What EMAIL_OAUTH2 and its options may be, and what is said where they are wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import mailqueue
from mailqueue.backends.smtp import EmailBackend
from mailqueue.conf import settings
from mailqueue.errors import ImproperlyConfigured, InvalidMailer, TokenUnavailable
from mailqueue.mail.routing import delivery_backend
from mailqueue.oauth2.cache import tokens
from mailqueue.oauth2.secrecy import hide
from tests.oauth2 import functions

HERE = "tests.oauth2.functions"
SMTP = "mailqueue.backends.smtp.EmailBackend"
DJANGOS = "django.core.mail.backends.smtp.EmailBackend"
Make = Callable[..., EmailBackend]


@pytest.fixture(autouse=True)
def _fresh() -> None:
    functions.calls.clear()
    functions.tokens[:] = ["abc"]


def by_settings(path: str, options: Any = None, user: str = "ann@example.com") -> EmailBackend:
    mailqueue.configure(EMAIL_OAUTH2=path, EMAIL_OAUTH2_OPTIONS=options or {}, EMAIL_HOST_USER=user)
    return EmailBackend()


def by_mailer(path: str, options: Any = None, user: str = "ann@example.com") -> EmailBackend:
    given = {"host": "127.0.0.1", "username": user, "oauth2": path, "oauth2_options": options or {}}
    mailqueue.configure(MAILERS={"office": {"BACKEND": SMTP, "OPTIONS": given}})
    return mailqueue.mailers["office"]


@pytest.mark.parametrize("make", [by_settings, by_mailer])
def test_a_function_is_called_with_alias_and_username(make: Make) -> None:
    """And, where there are options, with these as keyword arguments."""
    alias = None if make is by_settings else "office"
    tokens.get(make(f"{HERE}.token").oauth2, 30)
    tokens.get(make(f"{HERE}.with_options", {"key": "s3cret"}).oauth2, 30)
    who = {"alias": alias, "username": "ann@example.com"}
    assert functions.calls == [who, who | {"key": "s3cret", "region": "eu"}]


@pytest.mark.parametrize("make", [by_settings, by_mailer])
@pytest.mark.parametrize(
    ("path", "options", "wrong"),
    [
        (f"{HERE}.with_options", {}, "it needs 'key'"),
        (f"{HERE}.with_options", {"kye": "s3cret"}, "it takes no 'kye'; it needs 'key'"),
        (f"{HERE}.with_options", {"key": "s3cret", "regoin": "s3cret"}, "it takes no 'regoin'"),
        (f"{HERE}.token", {"key": "s3cret"}, "it takes no 'key'"),
        (f"{HERE}.with_options", {"key": "s3cret", "alias": "s3cret"}, "'alias'"),
        (f"{HERE}.with_options", {"key": "s3cret", "username": "s3cret"}, "'username'"),
        ("mailqueue.oauth2.microsoft", {"tennant": "s3cret"}, "it takes no 'tennant'; it needs"),
        (f"{HERE}.narrow", {}, "it takes no 'alias'"),
        ("mailqueue.oauth2.google", {}, "it needs 'service_account'"),
        (f"{HERE}.nowhere", {}, "no such function"),
        (f"{HERE}.not_callable", {}, "no such function"),
        ("no.such.module", {}, "ModuleNotFoundError"),
    ],
)
def test_what_is_wrong_is_named_when_the_backend_is_made(make, path, options, wrong) -> None:
    """The setting, the function and the key; never a value."""
    with pytest.raises(ImproperlyConfigured) as raised:
        make(path, options)
    text = str(raised.value)
    assert wrong in text
    assert ("EMAIL_OAUTH2" if make is by_settings else "MAILERS['office']: OPTIONS") in text
    assert path in text or "must not have" in text
    assert "s3cret" not in text
    if make is by_mailer:
        assert isinstance(raised.value, InvalidMailer)
        assert raised.value.alias == "office"


def test_a_function_that_takes_anything_is_handed_anything() -> None:
    """Such as one that hands it on."""
    tokens.get(by_settings(f"{HERE}.broad", {"key": 1}).oauth2, 30)
    assert functions.calls == [{"alias": None, "username": "ann@example.com", "key": 1}]


@pytest.mark.parametrize("make", [by_settings, by_mailer])
@pytest.mark.parametrize("user", ["", "ann\x01auth=Bearer x"])
def test_a_login_needs_a_user(make: Make, user: str) -> None:
    """The mailbox for which the token is; it can't forge a field of the login."""
    with pytest.raises(ImproperlyConfigured, match=r"EMAIL_HOST_USER|\['username'\]"):
        make(f"{HERE}.token", user=user)


@pytest.mark.parametrize("options", ["s3cret", {1: "s3cret"}, ["s3cret"]])
def test_options_of_a_mailer_are_a_dictionary(options: Any) -> None:
    """Their keys are a function's argument names."""
    with pytest.raises(InvalidMailer, match="must be a dictionary") as raised:
        by_mailer(f"{HERE}.token", options)
    assert "s3cret" not in str(raised.value)


def test_options_without_a_function_are_an_error() -> None:
    """Somebody forgot the other half."""
    given = {"host": "127.0.0.1", "oauth2_options": {"key": "s3cret"}}
    mailqueue.configure(MAILERS={"office": {"BACKEND": SMTP, "OPTIONS": given}})
    with pytest.raises(InvalidMailer, match="without 'oauth2'"):
        _ = mailqueue.mailers["office"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EMAIL_OAUTH2_OPTIONS", '{"key": "s3cret"'),
        ("EMAIL_OAUTH2_OPTIONS", '["s3cret"]'),
        ("MAILERS", '{"a": {"OPTIONS": {"password": "s3cret"}}'),
        ("MAILERS", '["s3cret"]'),
    ],
)
def test_a_setting_that_holds_secrets_is_not_shown(name, value, monkeypatch) -> None:
    """MAILERS, which hold passwords, were shown as a whole where their JSON was wrong."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ImproperlyConfigured, match=rf"{name} = \(not shown\)") as raised:
        settings.check()
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("path", ["token", "a..b", ".a", "a.b-c", "a b.c", 7])
def test_a_path_that_can_be_none_is_refused_at_once(path: Any) -> None:
    """Also where nothing is delivered."""
    with pytest.raises(ImproperlyConfigured, match="EMAIL_OAUTH2 = "):
        mailqueue.configure(EMAIL_OAUTH2=path)


def test_settings_of_the_environment(monkeypatch) -> None:
    """The options are written as JSON."""
    monkeypatch.setenv("EMAIL_OAUTH2", f"{HERE}.with_options")
    monkeypatch.setenv("EMAIL_OAUTH2_OPTIONS", '{"key": "k", "region": "us"}')
    monkeypatch.setenv("EMAIL_HOST_USER", "ann@example.com")
    tokens.get(EmailBackend().oauth2, 30)
    assert functions.calls[0]["region"] == "us"


def test_who_names_a_password_wants_that_one(monkeypatch) -> None:
    """As `send_mail(auth_user=…, auth_password=…)` does; one in the settings is left over."""
    by_settings(f"{HERE}.token")
    assert EmailBackend(username="bob", password="s3cret").oauth2 is None
    mailqueue.configure(EMAIL_HOST_PASSWORD="left over")
    assert EmailBackend().oauth2 is not None


def test_secrets_are_in_no_repr() -> None:
    """Of what stands in tracebacks that show variables."""
    backend = by_settings(f"{HERE}.with_options", {"key": "s3cret"})
    assert "s3cret" not in repr(backend.oauth2)
    assert "s3cret" not in backend.oauth2.key


def test_an_error_of_the_function_shows_no_option() -> None:
    """Its text is quoted, in one line, without what the options hold."""
    backend = by_settings(f"{HERE}.failing", {"key": "s3c\nret"})
    with pytest.raises(TokenUnavailable) as raised:
        tokens.get(backend.oauth2, 30)
    assert str(raised.value) == (
        f"no OAuth2 token for ann@example.com from {HERE}.failing: "
        "RuntimeError: the issuer didn't like '(key)' today"
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("key abcd refused", "key (key) refused"),
        ("q=a%20b%26c", "q=(deep)"),
        ("q=a+b%26c", "q=(deep)"),
        ("at line two and line one", "at (lines) and (lines)"),
        ("it has 1 problem", "it has 1 problem"),
    ],
)
def test_each_secret_is_replaced_by_its_name(text: str, shown: str) -> None:
    """Nested ones, in a URL's spelling, and each line of a private key."""
    secrets = {
        "key": "abcd",
        "deep": {"er": [b"a b&c"]},
        "lines": "line one\nline two",
        "short": "1",
    }
    assert hide(text, secrets) == shown


# -- backends that can't do it


class Own(EmailBackend):
    """A project's own, of ours."""


@pytest.mark.parametrize("backend", [DJANGOS, f"{__name__}.Foreign"])
def test_a_backend_that_cannot_log_in_so_is_an_error(backend: str) -> None:
    """It would log in by password, or not at all, and nobody would know why."""
    user = {"EMAIL_OAUTH2": f"{HERE}.token", "EMAIL_HOST_USER": "ann"}
    mailqueue.configure(**user, MAILQUEUE={"BACKEND": backend})
    with pytest.raises(ImproperlyConfigured, match="can't log in by OAuth2") as raised:
        delivery_backend()
    assert backend in str(raised.value)
    mailqueue.configure(MAILQUEUE={"USING": "default"}, EMAIL_BACKEND=backend)
    with pytest.raises(ImproperlyConfigured, match="can't log in by OAuth2"):
        delivery_backend()
    options = {"host": "x", "username": "ann", "oauth2": f"{HERE}.token"}
    mailqueue.configure(MAILERS={"default": {"BACKEND": backend, "OPTIONS": options}})
    with pytest.raises(InvalidMailer, match="can't log in by OAuth2"):
        delivery_backend()


class Foreign:
    """A backend of somebody else's, which takes anything."""

    def __init__(self, **options: Any) -> None: ...


OTHERS = [f"mailqueue.backends.{name}.EmailBackend" for name in ("console", "dummy", "locmem")]


@pytest.mark.parametrize("backend", [SMTP, f"{__name__}.Own", *OTHERS])
def test_other_backends_are_none(backend: str) -> None:
    """Ours can do it, and those that log in nowhere, as in an application's tests, needn't."""
    mailqueue.configure(
        EMAIL_OAUTH2=f"{HERE}.token", EMAIL_HOST_USER="ann", MAILQUEUE={"BACKEND": backend}
    )
    assert delivery_backend() is not None
