"""Settings: three sources and their order, and errors that name key, value and source."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mailqueue import configure, settings
from mailqueue.conf import home
from mailqueue.conf.keys import QueueSettings, Settings
from mailqueue.errors import ImproperlyConfigured
from tests.support import in_django


def message_of(section: Any, name: str) -> str:
    with pytest.raises(ImproperlyConfigured) as caught:
        getattr(section, name)
    return str(caught.value)


@pytest.mark.parametrize("section", [Settings, QueueSettings])
def test_every_default_is_a_good_value(section: Any) -> None:
    """A default can be written down as the value, and means the same."""
    for name in section.names():
        setting = getattr(section, name)
        assert setting.parse(setting.default) == setting.default, name


def test_without_any_source_there_are_defaults() -> None:
    """Django's defaults for what is Django's, ours for the queue."""
    assert (settings.EMAIL_HOST, settings.EMAIL_PORT) == ("localhost", 25)
    assert settings.MAILQUEUE.QUEUE == "mailqueue"


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Django's settings by name, the queue's with MAILQUEUE_ in front, in short notations."""
    for name, text in {
        "EMAIL_PORT": "2525",
        "EMAIL_USE_TLS": "yes",
        "EMAIL_TIMEOUT": "1m",
        "ADMINS": "ann@example.com, bob@example.com",
        "MAILQUEUE_RETRY": "1m, 1h*2",
        "MAILQUEUE_INLINE_LIMIT": "1KiB",
    }.items():
        monkeypatch.setenv(name, text)
    assert (settings.EMAIL_PORT, settings.EMAIL_USE_TLS, settings.EMAIL_TIMEOUT) == (2525, True, 60)
    assert settings.ADMINS == ["ann@example.com", "bob@example.com"]
    assert settings.MAILQUEUE.RETRY == (60, 3600, 3600)
    assert settings.MAILQUEUE.INLINE_LIMIT == 1024


def test_mailers_in_the_environment_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """What isn't JSON, or no dictionary, is an error that says so."""
    monkeypatch.setenv("MAILERS", '{"default": {"BACKEND": "a.B"}}')
    assert settings.MAILERS == {"default": {"BACKEND": "a.B"}}
    monkeypatch.setenv("MAILERS", "{default}")
    assert "is not JSON" in message_of(settings, "MAILERS")
    monkeypatch.setenv("MAILERS", "[]")
    assert "must be a dictionary" in message_of(settings, "MAILERS")


def test_an_empty_variable_switches_an_optional_setting_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """For what may be None there has to be a way to write it down."""
    for name in ("EMAIL_TIMEOUT", "EMAIL_FILE_PATH", "MAILQUEUE_USING"):
        monkeypatch.setenv(name, "")
    found = (settings.EMAIL_TIMEOUT, settings.EMAIL_FILE_PATH, settings.MAILQUEUE.USING)
    assert found == (None, None, None)


def test_configure_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Key by key: what configure() doesn't say, the environment does."""
    monkeypatch.setenv("EMAIL_HOST", "environment.example.com")
    monkeypatch.setenv("EMAIL_PORT", "2525")
    monkeypatch.setenv("MAILQUEUE_QUEUE", "environment")
    monkeypatch.setenv("MAILQUEUE_LEASE", "5m")
    configure(EMAIL_HOST="code.example.com", MAILQUEUE={"QUEUE": "code"})
    assert (settings.EMAIL_HOST, settings.EMAIL_PORT) == ("code.example.com", 2525)
    assert (settings.MAILQUEUE.QUEUE, settings.MAILQUEUE.LEASE) == ("code", 300)


def test_configure_adds_to_what_it_said_before() -> None:
    """A second call changes what it names, in MAILQUEUE too."""
    configure(EMAIL_HOST="a.example.com", MAILQUEUE={"QUEUE": "a", "LEASE": "2m"})
    configure(EMAIL_PORT=2525, MAILQUEUE={"QUEUE": "b"})
    assert (settings.EMAIL_HOST, settings.EMAIL_PORT) == ("a.example.com", 2525)
    assert (settings.MAILQUEUE.QUEUE, settings.MAILQUEUE.LEASE) == ("b", 120)


@pytest.mark.parametrize(
    "values",
    [
        {"EMAIL_HOST": "new.example.com", "EMAIL_PORT": "many"},
        {"EMAIL_HOST": "new.example.com", "MAILQUEUE": {"RETRY": "soon"}},
        {"EMAIL_HOST": "new.example.com", "MAILQUEUE": {"RETRI": "1m"}},
        {"EMAIL_HOST": "new.example.com", "MAILQUEUE": "redis://"},
        {"EMAIL_HOST": "new.example.com", "EMAIL_HOTS": "typing error"},
    ],
)
def test_configure_is_all_or_nothing(values: dict[str, Any]) -> None:
    """With one wrong value, key or name, nothing is changed."""
    configure(EMAIL_HOST="old.example.com", MAILQUEUE={"QUEUE": "old"})
    with pytest.raises(ImproperlyConfigured):
        configure(**values)
    assert (settings.EMAIL_HOST, settings.MAILQUEUE.QUEUE) == ("old.example.com", "old")
    settings.check()


def test_unknown_names_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """A typing error is never silently a default; the error lists what there is."""
    with pytest.raises(ImproperlyConfigured, match=r"configure\(\) got EMAIL_HOTS.*EMAIL_HOST"):
        configure(EMAIL_HOTS="x")
    with pytest.raises(
        ImproperlyConfigured, match=r"unknown key 'RETRI', from configure\(\).*RETR"
    ):
        configure(MAILQUEUE={"RETRI": "1m"})
    monkeypatch.setenv("MAILQUEUE_RETRI", "1m")
    assert "the environment variable MAILQUEUE_RETRI names no setting" in message_of(
        settings.MAILQUEUE, "RETRY"
    )


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("EMAIL_PORT", "smtp", "invalid literal"),
        ("EMAIL_USE_TLS", "perhaps", "neither true nor false"),
        ("EMAIL_TIMEOUT", "-1", "duration"),
        ("MAILQUEUE_RETRY", "1m*many", "not of the form"),
        ("MAILQUEUE_MAX_AGE", "0", "more than 0"),
        ("MAILQUEUE_LEASE", "1 fortnight", "duration"),
        ("MAILQUEUE_BATCH_SIZE", "0", "1 or more"),
        ("MAILQUEUE_BATCH_SIZE", "2.5", "invalid literal"),
        ("MAILQUEUE_INLINE_LIMIT", "1 parsec", "size"),
        ("MAILQUEUE_IN_DOUBT", "drop", "'retry' or 'hold'"),
        ("MAILQUEUE_DURABILITY", "always", "'default' or 'fsync'"),
        ("MAILQUEUE_QUEUE", "a queue", "letters, digits"),
    ],
)
def test_bad_values_in_the_environment(
    name: str, value: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error has the key, the value, the variable and the reason."""
    monkeypatch.setenv(name, value)
    section = settings.MAILQUEUE if name.startswith("MAILQUEUE_") else settings
    key = name.removeprefix("MAILQUEUE_")
    error = message_of(section, key)
    assert error.startswith(
        f"{section.title(key)} = {value!r}, from the environment variable {name}"
    )
    assert reason in error


@pytest.mark.parametrize(
    "values",
    [
        {"EMAIL_HOST": b"smtp.example.com"},
        {"EMAIL_PORT": True},
        {"EMAIL_PORT": 25.5},
        {"ADMINS": 3},
        {"ADMINS": "ann@example.com"},
        {"MANAGERS": {"Ann": "ann@example.com"}},
        {"MAILQUEUE": {"BATCH_SIZE": 10.5}},
        {"MAILQUEUE": {"QUEUE": 7}},
        {"MAILQUEUE": {"LEASE": float("inf")}},
    ],
)
def test_bad_values_in_code(values: dict[str, Any]) -> None:
    """A value of the wrong type is refused by name, not converted into nonsense."""
    (name, value), *_ = values["MAILQUEUE"].items() if "MAILQUEUE" in values else values.items()
    with pytest.raises(ImproperlyConfigured, match=r"from configure\(\)") as caught:
        configure(**values)
    assert name in str(caught.value)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("setting", ["ADMINS", "MANAGERS"])
def test_people_in_code_are_a_list(setting: str) -> None:
    """Only the environment's text is split at commas; the error has Django's words."""
    with pytest.raises(
        ImproperlyConfigured,
        match=rf"The {setting} setting must be a list of email address strings\.",
    ):
        configure(**{setting: "ann@example.com, bob@example.com"})
    configure(**{setting: ("ann@example.com",)})
    assert getattr(settings, setting) == ["ann@example.com"]


@pytest.mark.parametrize("name", sorted(Settings.names()))
def test_none_is_the_default(name: str) -> None:
    """Projects write None for what they don't use, which works in Django."""
    configure(**{name: None})
    assert getattr(settings, name) == getattr(Settings, name).default


def test_none_in_djangos_settings_is_the_default() -> None:
    """There too."""
    names = ["EMAIL_HOST", "EMAIL_HOST_USER", "EMAIL_HOST_PASSWORD", "EMAIL_USE_TLS"]
    result = in_django(
        dict.fromkeys(names), f"result = [getattr(settings, name) for name in {names}]"
    )
    assert result == ["localhost", "", "", False]


@pytest.mark.parametrize(
    "values",
    [
        {"EMAIL_HOST_PASSWORD": b"hunter2"},
        {"MAILQUEUE": {"BROKER_URL": b"redis://:hunter2@localhost"}},
        {"MAILQUEUE": {"JOURNAL_URL": b"redis://:hunter2@localhost"}},
        {"MAILQUEUE": {"JOURNAL_URL": "redis://:hunter2/x@localhost/0"}},
        {"MAILQUEUE": {"BROKER_URL": "amqp://a//;amqp://ann:hunter2#@localhost//"}},
        {"MAILQUEUE": {"BROKER_URL": "rediss://ann:hunter2@[localhost/0"}},
    ],
)
def test_secrets_are_not_shown(values: dict[str, Any]) -> None:
    """The error for a value that may hold a password names the key only."""
    with pytest.raises(ImproperlyConfigured, match=r"\(not shown\)") as caught:
        configure(**values)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "amqp://ann:pw@a:5672//;amqp://ann:pw@b:5672//",
        "redis://:a;b@localhost:6379/0",
        "redis://:p%2Fw%23@[::1]:6379/0",
        "redis+socket:///run/x.sock?virtual_host=1",
        "unix:///run/x.sock?db=1",
        "sentinel://a:26379;sentinel://b:26379",
        "azureservicebus://policy:k/ey@space",
        "memory://",
    ],
)
def test_urls_of_all_kinds_are_taken(url: str) -> None:
    """What kombu has forms of its own for is left to it."""
    configure(MAILQUEUE={"BROKER_URL": url})
    assert url == settings.MAILQUEUE.BROKER_URL


@pytest.mark.parametrize("keys", ["", " , ", [""], ["a", " "]])
def test_an_empty_key_does_not_mean_none(keys: Any) -> None:
    """Whoever writes one in code has a key in mind that isn't there."""
    with pytest.raises(ImproperlyConfigured, match=r"SECRET_KEYS.*empty"):
        configure(MAILQUEUE={"SECRET_KEYS": keys})


def test_no_keys_may_be_written_in_many_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable is how an environment says nothing."""
    for keys in ([], (), None):
        configure(MAILQUEUE={"SECRET_KEYS": keys})
        assert settings.MAILQUEUE.SECRET_KEYS == []
    settings.reset()
    monkeypatch.setenv("MAILQUEUE_SECRET_KEYS", "")
    assert settings.MAILQUEUE.SECRET_KEYS == []


def test_django_comes_first() -> None:
    """What is Django's own comes from nowhere else; a key of MAILQUEUE may come from all three."""
    result = in_django(
        {"EMAIL_HOST": "django.example.com", "MAILQUEUE": {"QUEUE": "django"}},
        "configure(MAILQUEUE={'QUEUE': 'code', 'LEASE': '2m'}); queue = settings.MAILQUEUE\n"
        "result = [settings.EMAIL_HOST, settings.EMAIL_PORT, queue.QUEUE, queue.LEASE,"
        " queue.IN_DOUBT]",
        EMAIL_HOST="environment.example.com",
        EMAIL_PORT="2525",
        MAILQUEUE_LEASE="5m",
        MAILQUEUE_IN_DOUBT="hold",
    )
    assert result == ["django.example.com", 25, "django", 120, "hold"]


def test_configure_leaves_django_alone() -> None:
    """A setting of Django's is set in Django, and the error says so."""
    result = in_django(
        {},
        "try: configure(EMAIL_HOST='x')\nexcept ImproperlyConfigured as error: result = str(error)",
    )
    assert result == "configure() got EMAIL_HOST, but Django is configured: set it in its settings"


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"EMAIL_PORT": "many"}, "EMAIL_PORT = 'many', from Django's settings: "),
        ({"MAILQUEUE": {"LEASE": "long"}}, "MAILQUEUE['LEASE'] = 'long', from Django's settings: "),
        (
            {"MAILQUEUE": {"LESE": 1}},
            "MAILQUEUE has the unknown key 'LESE', from Django's settings",
        ),
        ({"MAILQUEUE": [1]}, "MAILQUEUE, from Django's settings, must be a dictionary"),
    ],
)
def test_errors_in_djangos_settings(values: dict[str, Any], error: str) -> None:
    """They are told as such."""
    code = "try: settings.check()\nexcept ImproperlyConfigured as error: result = str(error)"
    assert in_django(values, code).startswith(error)


def test_django_that_is_only_imported_is_not_a_source() -> None:
    """A library that imports django.conf doesn't take the environment's settings away."""
    script = "import django.conf, mailqueue; print(mailqueue.settings.EMAIL_HOST)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "EMAIL_HOST": "environment.example.com"},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "environment.example.com\n", done.stderr


def test_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The embedded server lives under MAILQUEUE_HOME, or in .mailqueue of the working directory."""
    monkeypatch.setenv("MAILQUEUE_HOME", str(tmp_path / "there"))
    assert home() == tmp_path / "there"
    monkeypatch.delenv("MAILQUEUE_HOME")
    monkeypatch.chdir(tmp_path)
    assert home() == tmp_path / ".mailqueue"


def test_the_working_directory_may_be_gone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As that of a release which has been replaced; only who has no other home needs it."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.setenv("MAILQUEUE_HOME", str(tmp_path / "there"))
    assert home() == tmp_path / "there"
    monkeypatch.setenv("MAILQUEUE_HOME", "there")
    with pytest.raises(ImproperlyConfigured, match="absolute path"):
        home()
