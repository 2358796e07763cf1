"""Mail servers that encrypt badly, want what we don't have, can't do it all, or take their time."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path

import pytest
import redis
import trustme

from mailqueue.monitor import control, report
from tests.line import Line, Once, copies, fate, line, send, states, wait_for
from tests.scripted import ScriptedServer, Session
from tests.support import wait_until

pytestmark = pytest.mark.usefixtures("producer")
RFC_FEATURES = ("PIPELINING", "8BITMIME", "SIZE 100000000")

plain = line("plain", *RFC_FEATURES, EMAIL_TIMEOUT="1", MAILQUEUE_RETRY="1s")
# The ten minutes that RFC 5321 gives the final reply, made one second.
IMPATIENT = """
from mailqueue.celery import create_app
from mailqueue.delivery.smtp.transaction import PHASE_TIMEOUTS, Phase

PHASE_TIMEOUTS[Phase.DOT] = 1
app = create_app()
"""
impatient = line("impatient", *RFC_FEATURES, project=IMPATIENT)


@pytest.fixture
def server(plain: Line, redis_url, monkeypatch) -> Iterator[ScriptedServer]:
    yield plain.as_new(monkeypatch)
    plain.server.script = lambda *_: None


def let_pause_end(redis_url: str) -> None:
    """Let the mailer be used again, as it would be some minutes later."""
    with redis.Redis.from_url(redis_url) as client:
        for key in client.keys("mailqueue:{mailer:*}:breaker"):
            client.hset(key, "not_before", 0)


def alarm() -> str:
    return " ".join(mailer["reason"] for mailer in report.mailers() if mailer["alarm"])


# -- encryption

PROMISING = ("STARTTLS", "AUTH PLAIN LOGIN")


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> tuple[trustme.CA, Path]:
    """Who the worker trusts."""
    authority = trustme.CA()
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return authority, path


@pytest.fixture(scope="module")
def encrypting(valkey, tmp_path_factory, nursery, authority) -> Iterator[Line]:
    """A worker with EMAIL_USE_TLS and a password."""
    start = line(
        "encrypting",
        *PROMISING,
        EMAIL_USE_TLS="1",
        EMAIL_HOST_USER="ann",
        EMAIL_HOST_PASSWORD="secret",
        SSL_CERT_FILE=str(authority[1]),
    )
    yield from start.__wrapped__(valkey, tmp_path_factory, nursery)


def certificate(kind: str, authority: trustme.CA) -> ssl.SSLContext:
    past = datetime.now(UTC) - timedelta(days=1)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    chosen = {
        "valid": lambda: authority.issue_cert("127.0.0.1"),
        "expired": lambda: authority.issue_cert("127.0.0.1", not_after=past),
        "self-signed": lambda: trustme.CA().issue_cert("127.0.0.1"),
        "another host's": lambda: authority.issue_cert("mail.example.com"),
    }[kind]()
    chosen.configure_cert(context)
    return context


def log_in(session: Session, phase: str, command: str) -> str | None:
    return "235 welcome" if phase == "AUTH" else None


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("expired", "certificate has expired"),
        ("self-signed", "unable to get local issuer certificate"),
        ("another host's", "certificate is not valid for '127.0.0.1'"),
        ("no STARTTLS", "STARTTLS extension not supported"),
    ],
)
def test_nothing_goes_out_in_clear_text(
    kind, reason, encrypting, authority, redis_url, monkeypatch
):
    """Neither mail nor password: the mailer pauses with an alarm; when it is mended, mail flows."""
    server = encrypting.as_new(monkeypatch)
    server.script = log_in
    if kind == "no STARTTLS":
        server.features = ("AUTH PLAIN LOGIN",)
    else:
        server.tls = certificate(kind, authority[0])
    (message,) = send(1)
    wait_until(lambda: reason in alarm(), 20, encrypting.worker.explain)
    assert set(server.verbs()) <= {"EHLO", "STARTTLS", "QUIT"}
    wait_until(lambda: fate(message)["state"] in {"queued", "retrying"}, 10)
    server.features, server.tls = PROMISING, certificate("valid", authority[0])
    let_pause_end(redis_url)
    wait_for({"sent": 1})
    assert (fate(message)["attempts"], copies(server)) == (1, [1])
    assert server.verbs(server.sessions)[:4] == ["EHLO", "STARTTLS", "EHLO", "AUTH"]


@pytest.mark.parametrize("injected", [b"250 injected\r\n", b"250-x\r\n250 AUTH X-STOLEN\r\n"])
def test_what_was_said_before_encryption_counts_for_nothing(
    injected, encrypting, authority, redis_url, monkeypatch
):
    """Plain text slipped in behind the reply to STARTTLS isn't read as if it had been encrypted."""
    server = encrypting.as_new(monkeypatch)
    server.tls = certificate("valid", authority[0])
    injection = Once("STARTTLS", b"220 go ahead\r\n" + injected)

    def script(session: Session, phase: str, command: str) -> bytes | str | None:
        refused = phase == "dot" and session.number == 1
        return (
            "554 refused"
            if refused
            else injection(session, phase, command) or log_in(session, phase, command)
        )

    server.script = script
    (message,) = send(1)
    wait_until(lambda: fate(message)["state"] in {"sent", "failed"}, 30)
    assert (fate(message)["state"] == "sent") == (len(server.accepted) == 1)
    assert fate(message)["attempts"] == 1
    assert "X-STOLEN" not in str([command for _, command in server.commands])


def test_a_server_that_wants_a_login_fails_nothing(server, redis_url, plain):
    """530 to MAIL is our own mistake: an alarm, and all are sent when it is mended."""

    def script(session: Session, phase: str, command: str) -> str | None:
        return "530 5.7.0 Authentication required" if phase == "MAIL" else None

    server.script = script
    messages = send(3)
    wait_until(lambda: "530 5.7.0 Authentication required" in alarm(), 20, plain.worker.explain)
    assert set(states()) <= {"queued", "retrying", "sending"}
    server.script = lambda *_: None
    let_pause_end(redis_url)
    wait_for({"sent": 3})
    assert {fate(message)["attempts"] for message in messages} == {1}
    assert copies(server) == [1] * 3


# -- what a server can't do


def test_a_message_that_is_too_large_fails_before_mail(server):
    """By what SIZE says; the others are sent."""
    server.features = ("SIZE 10000",)
    large, small = send(1, body="A line of the letter.\n" * 1000)[0], send(1)[0]
    wait_for({"failed": 1, "sent": 1})
    assert fate(large)["reply"].startswith("552 the message has ")
    assert fate(large)["reply"].endswith("the server takes at most 10000")
    assert (fate(large)["attempts"], fate(small)["attempts"]) == (1, 1)
    assert server.verbs().count("MAIL") == 1


@pytest.mark.parametrize(("features", "is_8bit"), [(RFC_FEATURES, True), ((), False)])
def test_without_8bitmime_a_message_is_written_in_seven_bits(features, is_8bit, server):
    """The reader sees the same text."""
    server.features = features
    send(1, body="Grüße aus Köln\n")
    wait_for({"sent": 1})
    (mail,) = server.accepted
    assert mail.content.isascii() is not is_8bit
    read = message_from_bytes(mail.content, policy=policy.default).get_content()
    assert read.replace("\r\n", "\n") == "Grüße aus Köln\n"


def test_without_smtputf8_an_address_that_needs_it_fails_at_once(server):
    """The error says why; a server that can do it gets the address as it is."""
    (message,) = send(1, to=["jörg@example.com"])
    wait_for({"failed": 1})
    assert fate(message)["reply"] == (
        "553 an address is not ASCII, and the server does not offer SMTPUTF8"
    )
    assert (fate(message)["attempts"], server.verbs().count("MAIL")) == (1, 0)
    server.close_sessions()
    server.features = (*RFC_FEATURES, "SMTPUTF8")
    control.retry([message.mailqueue_id])
    wait_for({"sent": 1})
    assert server.accepted[0].recipients == ["jörg@example.com"]


# -- time


class Silent:
    """A script that says nothing in that phase of the first session, until it is told to go on."""

    def __init__(self, phase: str, reply: str | None = None) -> None:
        self.phase, self.reply, self.go_on = phase, reply, threading.Event()

    def __call__(self, session: Session, phase: str, command: str) -> str | None:
        if phase == self.phase and session.number == 1 and not self.go_on.is_set():
            self.go_on.wait(20)
            return self.reply
        return None


@pytest.mark.parametrize("phase", ["connect", "EHLO", "MAIL", "RCPT", "DATA"])
def test_a_server_that_falls_silent_costs_no_attempt(phase, server):
    """Beyond EMAIL_TIMEOUT, before the dot: the message goes over another connection, once."""
    server.script = silent = Silent(phase)
    messages = send(2)
    wait_for({"sent": 2})
    silent.go_on.set()
    assert copies(server) == [1, 1]
    assert {fate(message)["attempts"] for message in messages} == {1}


def test_a_late_reply_to_the_dot_is_never_taken_for_the_next_messages(
    impatient, redis_url, monkeypatch
):
    """Its message is uncertain; the next one, refused over another connection, is failed."""
    server = impatient.as_new(monkeypatch)
    silent = Silent("dot", "250 2.0.0 kept, but late")

    def script(session: Session, phase: str, command: str) -> str | None:
        if phase == "dot" and session.number == 2:
            silent.go_on.set()
            return "554 refused" if b"Subject: News 1" in session.mail.content else None
        return silent(session, phase, command)

    server.script = script
    messages = send(3)
    wait_for({"uncertain": 1, "failed": 1, "sent": 1})
    assert [fate(message)["state"] for message in messages] == ["uncertain", "failed", "sent"]
    assert fate(messages[0])["reply"].startswith("no reply to the final dot: ")
    assert fate(messages[1])["reply"] == "554 refused"
