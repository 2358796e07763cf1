"""Where broker and journal are: the spellings, the embedded server's socket, no passwords shown."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import redis
from kombu import Connection

from mailqueue import configure
from mailqueue.conf.server import (
    broker_url,
    journal_url,
    redact,
    socket_path,
    uses_embedded_server,
)
from mailqueue.errors import ImproperlyConfigured


@pytest.mark.parametrize(
    ("given", "broker", "journal"),
    [
        ("redis://host:1234/3", "redis://host:1234/3", "redis://host:1234/3"),
        ("rediss://:pw@host/0", "rediss://:pw@host/0", "rediss://:pw@host/0"),
        ("valkey://host/2", "redis://host/2", "redis://host/2"),
        ("valkeys://host/2", "rediss://host/2", "rediss://host/2"),
        ("unix:///run/x.sock?db=2", "redis+socket:///run/x.sock?virtual_host=2", None),
        ("unix:///run/x.sock", "redis+socket:///run/x.sock?virtual_host=0", "unix:///run/x.sock"),
        ("redis+socket:///run/x.sock?virtual_host=2", None, "unix:///run/x.sock?db=2"),
    ],
)
def test_each_library_gets_its_own_spelling(
    given: str, broker: str | None, journal: str | None
) -> None:
    """One URL is enough for both; what a library knows already is left as it is."""
    configure(MAILQUEUE={"BROKER_URL": given})
    assert broker_url() == (broker or given)
    assert journal_url() == (journal or given)


@pytest.mark.parametrize("given", ["redis://host:1234/3", "valkey://host:1234/3"])
def test_the_libraries_understand_the_address(given: str) -> None:
    """Both connect to the same host, port and database."""
    configure(MAILQUEUE={"BROKER_URL": given})
    kwargs = redis.ConnectionPool.from_url(journal_url()).connection_kwargs
    assert (kwargs["host"], kwargs["port"], kwargs["db"]) == ("host", 1234, 3)
    broker = Connection(broker_url())
    assert (broker.hostname, broker.port, broker.virtual_host) == ("host", 1234, "3")


def test_the_libraries_understand_the_socket() -> None:
    """Both find the path and the database of a Unix socket."""
    configure(MAILQUEUE={"BROKER_URL": "unix:///run/x.sock?db=2"})
    kwargs = redis.ConnectionPool.from_url(journal_url()).connection_kwargs
    assert (kwargs["path"], kwargs["db"]) == ("/run/x.sock", 2)
    assert "/run/x.sock" in Connection(broker_url()).as_uri()


def test_a_broker_that_is_no_redis_needs_a_journal_of_its_own() -> None:
    """The error names the setting, and doesn't show the broker's password."""
    configure(MAILQUEUE={"BROKER_URL": "amqp://user:secret@rabbit//"})
    assert broker_url() == "amqp://user:secret@rabbit//"
    with pytest.raises(ImproperlyConfigured, match=r"MAILQUEUE\['JOURNAL_URL'\]") as caught:
        journal_url()
    assert "secret" not in str(caught.value)
    configure(MAILQUEUE={"JOURNAL_URL": "redis://localhost/0"})
    assert journal_url() == "redis://localhost/0"


def test_a_celery_application_needs_a_journal_to_be_named() -> None:
    """Its broker is its own affair, so the embedded server isn't used in secret."""
    configure(MAILQUEUE={"CELERY_APP": "project.celery:app"})
    assert not uses_embedded_server()
    with pytest.raises(ImproperlyConfigured, match=r"MAILQUEUE\['JOURNAL_URL'\]"):
        journal_url()


def test_without_settings_both_are_on_the_embedded_server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In two databases of it, so that flushing the broker costs no record."""
    monkeypatch.setenv("MAILQUEUE_HOME", "/a/home")
    assert uses_embedded_server()
    assert journal_url() == "unix:///a/home/valkey.sock?db=0"
    assert broker_url() == "redis+socket:///a/home/valkey.sock?virtual_host=1"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost/0", "redis://localhost/0"),
        ("redis://:secret@localhost:1/0", "redis://:***@localhost:1/0"),
        ("redis://user:secret@localhost/0", "redis://user:***@localhost/0"),
        ("redis://user:se@cret@localhost/0", "redis://user:***@localhost/0"),
        ("unix:///run/x.sock?password=secret&db=1", "unix:///run/x.sock?password=***&db=1"),
        ("rediss://localhost/0?password=secret", "rediss://localhost/0?password=***"),
        (
            "rediss://localhost/0?ssl_password=secret&db=1",
            "rediss://localhost/0?ssl_password=***&db=1",
        ),
        ("redis://:sec/ret@localhost/0", "redis://:***@localhost/0"),
        ("redis://user:sec#r?t@localhost/0", "redis://user:***@localhost/0"),
        ("redis://:sec://ret@localhost/0", "redis://:***@localhost/0"),
        ("redis://user:secret@[localhost/0", "redis://user:***@[localhost/0"),
        ("redis:///user:secret@localhost", "redis:///user:***@localhost"),
        ("redis//:secret@localhost", "redis//:***@localhost"),
        ("unix:///run/mail@home.sock?db=1", "unix:///run/mail@home.sock?db=1"),
    ],
)
def test_passwords_are_taken_out(url: str, shown: str) -> None:
    """In every place where a URL may have one, right or wrong; the rest stays to be recognised."""
    assert redact(url) == shown


def test_a_deep_home_has_its_socket_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A socket's path has a limit; all processes agree on a short one in a private directory."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    deep = Path("/", *["directory"] * 20)
    path = socket_path(deep)
    assert len(str(path.relative_to(tmp_path))) < 60
    assert path == socket_path(deep)
    assert path != socket_path(deep / "other")
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_directory_that_others_can_write_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Who could put a socket there could stand in for the server."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    deep = Path("/", *["directory"] * 20)
    socket_path(deep).parent.chmod(0o777)
    with pytest.raises(ImproperlyConfigured, match="not a private directory"):
        socket_path(deep)
