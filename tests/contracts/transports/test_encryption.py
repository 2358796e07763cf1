"""Servers that encrypt badly, or want a login: our own mistakes fail no message."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from pathlib import Path

import pytest
import trustme

from tests.contracts.transports.kinds import Ability, shown_by
from tests.contracts.transports.wire import letter, letters
from tests.line import Once
from tests.scripted import Session

LOGIN = {"EMAIL_USE_TLS": True, "EMAIL_HOST_USER": "ann", "EMAIL_HOST_PASSWORD": "secret"}


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process trusts the authority, and no other."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    monkeypatch.setenv("SSL_CERT_FILE", str(path))


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
    ("kind_of", "reason"),
    [
        ("expired", "certificate has expired"),
        ("self-signed", "unable to get local issuer certificate"),
        ("another host's", "certificate is not valid for '127.0.0.1'"),
        ("no STARTTLS", "STARTTLS extension not supported by server. (name its port"),
    ],
)
def test_nothing_goes_out_in_clear_text(kind_of, reason, authority, trusted, make_wire) -> None:
    """Neither mail nor password: the mailer rests, nobody is charged, and mended it sends."""
    wire = make_wire(features=("AUTH PLAIN LOGIN",), settings=LOGIN)
    wire.server.script = log_in
    promising = ("STARTTLS", "AUTH PLAIN LOGIN", *wire.kind.features)
    if kind_of != "no STARTTLS":
        wire.server.features = promising
        wire.server.tls = certificate(kind_of, authority)
    assert wire.send(letter()) == {}
    assert reason in wire.record().reply
    assert wire.connection.pause > 30  # as long as only a person can mend it
    assert {verb.upper() for verb in wire.server.verbs()} <= {"EHLO", "STARTTLS", "QUIT"}
    wire.server.features, wire.server.tls = promising, certificate("valid", authority)
    assert wire.again() == {"sent": 1}
    assert (wire.attempts(), wire.reached()) == ([1], ["to0@example.com"])
    assert wire.server.verbs(wire.server.sessions)[:4] == ["EHLO", "STARTTLS", "EHLO", "AUTH"]


@shown_by(Ability.LISTENS)
@pytest.mark.parametrize("injected", [b"250 injected\r\n", b"250-x\r\n250 AUTH X-STOLEN\r\n"])
def test_what_was_said_before_encryption_counts_for_nothing(
    injected, authority, trusted, make_wire
) -> None:
    """Plain text slipped in behind the reply to STARTTLS isn't read as if it had been encrypted."""
    wire = make_wire(settings=LOGIN)
    wire.server.features = ("STARTTLS", "AUTH PLAIN LOGIN", *wire.kind.features)
    wire.server.tls = certificate("valid", authority)
    injection = Once("STARTTLS", b"220 go ahead\r\n" + injected)

    def script(session: Session, phase: str, command: str) -> bytes | str | None:
        if phase == "dot" and session.number == 1:
            return "554 refused"
        return injection(session, phase, command) or log_in(session, phase, command)

    wire.server.script = script
    wire.send_out(letter())
    assert wire.states() in (["sent"], ["failed"])
    assert (wire.states() == ["sent"]) == (len(wire.accepted) == 1)
    assert wire.attempts() == [1]
    assert "X-STOLEN" not in str(wire.server.commands)


def test_encrypted_messages_arrive_as_they_are(authority, trusted, make_wire) -> None:
    """Short and long ones, over one connection."""
    wire = make_wire(settings={"EMAIL_USE_TLS": True})
    wire.server.features = ("STARTTLS", *wire.kind.features)
    wire.server.tls = certificate("valid", authority)
    messages = letters(20)
    messages[11].body = "A line of the letter.\n" * 30_000
    assert wire.send(*messages) == {"sent": 20}
    assert wire.reached() == [f"to{n}@example.com" for n in range(20)]
    text = message_from_bytes(wire.accepted[11].content).get_payload()
    assert text == "A line of the letter.\r\n" * 30_000
    assert wire.server.sessions == 1


@pytest.mark.parametrize("code", [530, 534, 535, 538])
def test_a_server_that_wants_a_login_fails_nothing(code, wire) -> None:
    """Such a reply to MAIL is our own mistake: the mailer rests, and all go when it is mended."""
    reply = f"{code} 5.7.0 Authentication required"
    wire.server.script = lambda _, phase, __: reply if phase == "MAIL" else None
    assert wire.send(*letters(3)) == {}
    assert wire.record().reply == reply
    assert wire.connection.pause > 30
    wire.server.script = lambda *_: None
    assert wire.again() == {"sent": 3}
    assert wire.attempts() == [1, 1, 1]
    assert wire.reached() == [f"to{n}@example.com" for n in range(3)]
