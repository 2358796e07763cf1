"""How the SMTP backend begins a session: its name, and what it says where that can't be."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from smtplib import SMTPHeloError, SMTPNotSupportedError

import pytest

import mailqueue
from mailqueue.backends import handshake
from mailqueue.backends.smtp import EmailBackend
from mailqueue.delivery.smtp.transport import SmtpTransport
from mailqueue.delivery.trouble import Misconfigured, ServerTrouble, trouble_of
from mailqueue.errors import ImproperlyConfigured, InvalidMailer
from tests.mail.smtp_client import backend_for, message
from tests.scripted import ScriptedServer, Session

LOGIN = {"username": "ann", "password": "s3cret"}


@pytest.fixture
def scripted() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


def greeted(server: ScriptedServer) -> list[str]:
    said = [command.partition(" ") for _, command in server.commands]
    return [f"{verb.upper()} {name}" for verb, _, name in said if verb.upper() in {"EHLO", "HELO"}]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mail.example.com", "mail.example.com"),
        ("6f1c2e0b9a7d", "[127.0.0.1]"),  # as containers are named
        ("localhost", "[127.0.0.1]"),
        ("localhost.localdomain", "[127.0.0.1]"),
        ("my_app.example.com", "[127.0.0.1]"),
        ("10.0.0.3", "[127.0.0.1]"),
        ("mail.example.", "[127.0.0.1]"),
        ("", "[127.0.0.1]"),
    ],
)
def test_a_server_is_greeted_by_a_name_that_is_one(name, said, scripted, monkeypatch) -> None:
    """This host's own, where that is fully qualified, else its address as RFC 5321 writes it."""
    monkeypatch.setattr(handshake, "DNS_NAME", name)
    backend_for(scripted).send_messages([message()])
    assert greeted(scripted) == [f"EHLO {said}"]


@pytest.mark.parametrize(
    ("address", "literal"),
    [
        ("192.0.2.1", "[192.0.2.1]"),
        ("2001:db8::1", "[IPv6:2001:db8::1]"),
        ("fe80::1%eth0", "[IPv6:fe80::1]"),
        ("::ffff:192.0.2.1", "[192.0.2.1]"),  # of a socket for both
    ],
)
def test_an_address_says_of_which_kind_it_is(address: str, literal: str) -> None:
    """RFC 5321 4.1.3 has a tag for IPv6."""
    assert handshake.address_literal(address) == literal


def test_a_name_that_is_set_is_said(scripted) -> None:
    """EHLO_NAME, in any alphabet; the option of a mailer comes before it."""
    mailqueue.configure(MAILQUEUE={"EHLO_NAME": "köln.example"})
    backend_for(scripted).send_messages([message()])
    backend_for(scripted, ehlo_name="[192.0.2.1]").send_messages([message()])
    assert greeted(scripted) == ["EHLO xn--kln-sna.example", "EHLO [192.0.2.1]"]


@pytest.mark.parametrize(
    "name",
    [
        "two words",
        "a\r\nb",
        "<x>",
        "[x y]",
        5,
        "192.0.2.1",
        "a..b",
        ".a",
        "[x]",
        "[IPv6:1]",
        "[::1]",
    ],
)
def test_what_is_no_name_is_refused(name: object) -> None:
    """Where it is set, and nothing of it gets onto the wire."""
    with pytest.raises(ImproperlyConfigured, match="EHLO_NAME"):
        mailqueue.configure(MAILQUEUE={"EHLO_NAME": name})
    with pytest.raises(InvalidMailer, match="ehlo_name"):
        EmailBackend(host="a", ehlo_name=name)


@pytest.mark.parametrize(("option", "wrong"), [("in_flight", 0), ("chunking", "perhaps")])
def test_a_mailers_option_that_is_wrong_is_named(option: str, wrong: object) -> None:
    """With what it may be, as a setting would be."""
    mailqueue.configure(MAILERS={"news": {"OPTIONS": {"host": "a", option: wrong}}})
    with pytest.raises(InvalidMailer, match=rf"MAILERS\['news'\]: The option {option} = "):
        _ = mailqueue.mailers["news"]


def test_a_mailers_options_come_before_the_settings() -> None:
    """Each mailer may have its own; what it doesn't say is as MAILQUEUE says."""
    own = {"host": "a", "ehlo_name": "x.example", "in_flight": 4, "chunking": False}
    mailqueue.configure(
        MAILERS={"own": {"OPTIONS": own}, "other": {"OPTIONS": {"host": "a"}}},
        MAILQUEUE={"IN_FLIGHT": 7, "EHLO_NAME": "y.example"},
    )
    names = ("ehlo_name", "in_flight", "chunking")
    assert [mailqueue.mailers["own"].option(name) for name in names] == ["x.example", 4, False]
    assert [mailqueue.mailers["other"].option(name) for name in names] == ["y.example", 7, True]


@pytest.mark.parametrize("code", [500, 502])
def test_a_server_that_knows_no_ehlo_hears_helo(code: int, scripted) -> None:
    """As RFC 5321 3.2 has it."""
    scripted.script = lambda _, phase, __: f"{code} what?" if phase == "EHLO" else None
    assert backend_for(scripted).send_messages([message()]) == 1
    assert [said.partition(" ")[0] for said in greeted(scripted)] == ["EHLO", "HELO"]


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        ("504 5.5.2 need a name", Misconfigured),
        ("501 5.5.4 Invalid domain name", Misconfigured),
        ("550 5.7.1 Bad HELO name", Misconfigured),
        ("501 5.5.4 who are you", ServerTrouble),
        ("550 5.7.1 go away", ServerTrouble),
        ("451 4.3.0 not now", ServerTrouble),
    ],
)
def test_a_name_that_is_refused_is_not_said_again_by_helo(reply, kind, scripted) -> None:
    """Nor is mail sent as if the server could do nothing; what is ours says what to set."""
    scripted.script = lambda _, phase, __: reply if phase == "EHLO" else None
    with pytest.raises(SMTPHeloError) as raised:
        backend_for(scripted).open()
    assert len(greeted(scripted)) == 1
    trouble = trouble_of(raised.value)
    assert (type(trouble), "EHLO_NAME" in trouble.reply) == (kind, kind is Misconfigured)


# -- TLS


def transport(server, **options) -> SmtpTransport:
    return SmtpTransport(backend_for(server, **options))


@pytest.mark.parametrize("use_tls", [False, True], ids=["no TLS", "STARTTLS"])
def test_a_server_that_speaks_tls_from_the_start_is_told_from_a_slow_one(
    use_tls: bool, start_server, tls, monkeypatch
) -> None:
    """It waits for us, and we wouldn't wait for its greeting for the whole time-out."""
    server = start_server(implicit_tls=tls)
    if not use_tls:  # else the time-out would be as short as that
        monkeypatch.setattr(handshake, "_SILENCE", 0.5)
    with pytest.raises(Misconfigured, match="EMAIL_USE_SSL"):
        transport(server, use_tls=use_tls, timeout=2)


def test_a_server_that_is_silent_for_a_short_time_out_is_not_asked_about_tls(scripted) -> None:
    """Whoever may be in trouble is spared another connection."""
    over = threading.Event()

    def script(_session: Session, phase: str, _command: str) -> None:
        if phase == "connect":
            over.wait(60)

    scripted.script = script
    with pytest.raises(ServerTrouble) as raised:
        transport(scripted, timeout=0.2)
    over.set()
    assert type(raised.value) is ServerTrouble
    assert scripted.sessions == 1


def test_a_server_that_greets_late_is_waited_for(scripted, monkeypatch) -> None:
    """Some do so to see who doesn't wait; it is asked about TLS once, and then has its time."""
    monkeypatch.setattr(handshake, "_SILENCE", 0.05)

    def script(session: Session, phase: str, _command: str) -> str | None:
        while phase == "connect" and session.number == 1 and scripted.sessions < 2:
            session.socket.settimeout(0.02)
            try:
                session.socket.recv(1)
            except TimeoutError:
                continue
        session.socket.settimeout(None)
        return None

    scripted.script = script
    assert backend_for(scripted, timeout=60).send_messages([message()]) == 1
    assert (scripted.sessions, len(scripted.accepted)) == (2, 1)


def test_tls_from_the_start_to_a_server_without_it_is_our_mistake(scripted) -> None:
    """What is to be set is said along with OpenSSL's words."""
    with pytest.raises(Misconfigured, match="EMAIL_USE_TLS instead of EMAIL_USE_SSL"):
        transport(scripted, use_ssl=True, timeout=30)


@pytest.mark.parametrize(
    ("reply", "kind"), [("554 5.7.3 no TLS here", Misconfigured), ("454 4.7.0 now", ServerTrouble)]
)
def test_a_starttls_that_is_refused(reply, kind, scripted) -> None:
    """For good it is our mistake, for now the server's trouble."""
    scripted.features = ("STARTTLS",)
    scripted.script = lambda _, phase, __: reply if phase == "STARTTLS" else None
    with pytest.raises(ServerTrouble) as raised:
        transport(scripted, use_tls=True)
    assert type(raised.value) is kind


def test_a_connection_that_ends_in_the_handshake_is_the_servers_trouble(scripted) -> None:
    """It says nothing of what is set."""
    scripted.script = lambda _, phase, __: b"<close>" if phase == "connect" else None
    with pytest.raises(ServerTrouble) as raised:
        transport(scripted, use_ssl=True, timeout=30)
    assert type(raised.value) is ServerTrouble


@pytest.mark.parametrize("reason", ["TLSV1_ALERT_INTERNAL_ERROR", "WRONG_VERSION_NUMBER"])
def test_an_alert_of_the_servers_own_fault_is_its_trouble(reason: str) -> None:
    """The next try may find it mended; a disagreement about TLS is ours."""
    error = ssl.SSLError(1, reason)
    error.reason = reason
    assert isinstance(trouble_of(error), Misconfigured) == (reason == "WRONG_VERSION_NUMBER")


# -- AUTH


@pytest.mark.parametrize(
    ("features", "said"),
    [
        (("AUTH XOAUTH2 OAUTHBEARER",), "offers XOAUTH2, OAUTHBEARER, and mailqueue has CRAM-MD5"),
        (("STARTTLS",), "set EMAIL_USE_TLS"),
        ((), "set EMAIL_PORT to its port for logins"),
    ],
    ids=["other mechanisms", "only after STARTTLS", "none"],
)
def test_a_login_that_can_not_be_says_why(features, said, scripted) -> None:
    """What the server offers, what we have, and what to set; the password stays at home."""
    scripted.features = features
    with pytest.raises(SMTPNotSupportedError) as raised:
        backend_for(scripted, **LOGIN).open()
    assert said in str(raised.value)
    assert isinstance(trouble_of(raised.value), Misconfigured)
    assert "s3cret" not in str(raised.value)
    assert "AUTH" not in scripted.verbs()
