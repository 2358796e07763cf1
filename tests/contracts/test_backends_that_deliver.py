"""Real backends as the carrier, named by the settings: ours, and Django's in a Django process."""

from __future__ import annotations

import pytest

import mailqueue
from mailqueue.backends import smtp
from mailqueue.testing import RecordingServer
from tests.contracts.carried import through_settings
from tests.support import in_django

DJANGO = "django.core.mail.backends"
OURS = "mailqueue.backends"
TO = ["Änn <ann@example.com>", "bob@example.com"]
SENT = dict.fromkeys(TO, "sent")


class OwnSMTP(smtp.EmailBackend):
    """A project's own, which isn't driven as mailqueue's is."""


@pytest.mark.parametrize("kind", ["locmem", "filebased", "console", "dummy"])
def test_a_backend_of_ours_delivers(kind, redis_url, tmp_path, capsys):
    """The message is where that backend puts it, and on record as sent."""
    path = f"{OURS}.{kind}.EmailBackend"
    mailqueue.configure(MAILQUEUE={"BACKEND": path}, EMAIL_FILE_PATH=str(tmp_path / "mail"))
    assert through_settings(redis_url, *TO) == ("sent", SENT, f"sent by {path}")
    files = "".join(file.read_text() for file in tmp_path.glob("mail/*"))
    boxed = "".join(str(message.message()) for message in vars(mailqueue).pop("outbox", []))
    found = {"locmem": boxed, "filebased": files, "console": capsys.readouterr().out}
    assert {kind for kind, text in found.items() if "A letter" in text} == {kind} - {"dummy"}


def test_a_subclass_of_our_smtp_backend_delivers(redis_url, smtp_server):
    """It is a backend like any other; the server hears each recipient once."""
    configure(smtp_server)
    assert through_settings(redis_url, *TO) == ("sent", SENT, "250 2.0.0 kept")
    (received,) = smtp_server.received
    assert received.recipients == ["ann@example.com", "bob@example.com"]


def test_a_subclass_of_our_smtp_backend_says_who_was_refused(redis_url, smtp_server):
    """Where nobody was accepted, each recipient has the server's own reply."""
    configure(smtp_server)
    smtp_server.replies["ann@example.com"] = ["550 5.1.1 unknown"]
    smtp_server.replies["bob@example.com"] = ["450 4.2.2 full"]
    state, results, reply = through_settings(redis_url, *TO)
    assert (state, results) == ("retrying", {TO[0]: "failed"})
    assert reply == "550 5.1.1 unknown"


def configure(server: RecordingServer) -> None:
    mailqueue.configure(
        MAILQUEUE={"BACKEND": f"{__name__}.OwnSMTP"},
        EMAIL_HOST="127.0.0.1",
        EMAIL_PORT=server.port,
    )


def test_a_mailer_that_fails_silently_delivers_aloud(redis_url, unused_port):
    """Why nothing could be sent is on record, and no attempt is charged for it."""
    options = {"host": "127.0.0.1", "port": unused_port, "fail_silently": True}
    mailqueue.configure(
        MAILERS={"quiet": {"BACKEND": f"{__name__}.OwnSMTP", "OPTIONS": options}},
        MAILQUEUE={"USING": "quiet"},
    )
    reason = "can't connect: [Errno 111] Connection refused"
    assert through_settings(redis_url, *TO) == ("retrying", {}, reason)


# -- Django's


def through_django(redis_url: str, kind: str, after: str = "result", **values: object) -> object:
    """The same in a process with Django, whose backend of that kind is to deliver."""
    code = (
        "import contextlib, io\n"
        "from django.core import mail\n"
        "from tests.contracts.carried import through_settings\n"
        "printed = io.StringIO()\n"
        "with contextlib.redirect_stdout(printed):\n"
        f"    result = through_settings({redis_url!r}, *{TO!r})\n"
        f"result = [result, {after}]"
    )
    queue = {"BACKEND": f"{DJANGO}.{kind}.EmailBackend"}
    return in_django({"MAILQUEUE": queue, **values}, code)


@pytest.mark.parametrize(
    ("kind", "where"),
    [
        ("locmem", "[message.body for message in mail.outbox]"),
        ("console", "[line for line in printed.getvalue().splitlines() if line == 'A letter']"),
        ("dummy", "['A letter']"),
    ],
)
def test_a_backend_of_djangos_delivers(kind, where, redis_url):
    """The message is where Django's backend puts it, and on record as sent."""
    found = through_django(redis_url, kind, where)
    path = f"{DJANGO}.{kind}.EmailBackend"
    assert found == [["sent", SENT, f"sent by {path}"], ["A letter"]]


def test_djangos_file_backend_delivers(redis_url, tmp_path):
    """The message is in one file, and on record as sent."""
    (state, results, _), _ = through_django(redis_url, "filebased", EMAIL_FILE_PATH=str(tmp_path))
    assert (state, results) == ("sent", SENT)
    (file,) = tmp_path.iterdir()
    assert file.read_text().count("A letter") == 1


def test_djangos_smtp_backend_delivers(redis_url, smtp_server):
    """The message is at the server, for each recipient once, and on record as sent."""
    (state, results, _), _ = through_django_smtp(redis_url, smtp_server)
    assert (state, results) == ("sent", SENT)
    (received,) = smtp_server.received
    assert received.recipients == ["ann@example.com", "bob@example.com"]
    assert smtp_server.sessions == 1


def test_djangos_smtp_backend_says_who_was_refused(redis_url, smtp_server):
    """Where nobody was accepted, each recipient has the server's own reply."""
    smtp_server.replies["ann@example.com"] = ["550 5.1.1 unknown"]
    smtp_server.replies["bob@example.com"] = ["450 4.2.2 full"]
    (state, results, reply), _ = through_django_smtp(redis_url, smtp_server)
    assert (state, results, reply) == ("retrying", {TO[0]: "failed"}, "550 5.1.1 unknown")


@pytest.mark.parametrize(
    ("reply", "state"), [("554 5.7.1 no", "failed"), ("451 later", "retrying")]
)
def test_djangos_smtp_backend_says_how_the_message_was_refused(
    reply, state, redis_url, smtp_server
):
    """A reply to the content decides for all of its recipients."""
    smtp_server.at_data = [reply]
    (found, results, why), _ = through_django_smtp(redis_url, smtp_server)
    assert (found, why) == (state, reply)
    assert set(results.values()) == ({"failed"} if state == "failed" else set())


def through_django_smtp(redis_url: str, server: RecordingServer) -> object:
    return through_django(redis_url, "smtp", EMAIL_HOST="127.0.0.1", EMAIL_PORT=server.port)
