"""Logging in by a token: what is said to a server, and what comes of its replies."""

from __future__ import annotations

import smtplib
import ssl
import traceback
from base64 import b64encode

import pytest
import trustme

import mailqueue
from mailqueue import EmailMessage
from mailqueue.backends.smtp import EmailBackend
from mailqueue.errors import TokenUnavailable
from mailqueue.oauth2 import sasl
from mailqueue.oauth2.sasl import TokenRefused
from tests.oauth2 import functions
from tests.oauth2.door import GOOGLES, MICROSOFTS, USER, Door
from tests.scripted import CLOSE, ScriptedServer

HERE = "tests.oauth2.functions"
LONG = "x" * 2000  # as long as Microsoft's


@pytest.fixture(autouse=True)
def _fresh() -> None:
    functions.calls.clear()
    functions.tokens[:] = ["good"]


def backend(server: ScriptedServer, **options: object) -> EmailBackend:
    mailqueue.configure(EMAIL_OAUTH2=f"{HERE}.token", EMAIL_HOST_USER=USER)
    return EmailBackend(**{"host": "127.0.0.1", "port": server.port} | options)


def letter() -> EmailMessage:
    return EmailMessage("Subject", "Body", USER, ["bob@example.com"])


@pytest.mark.parametrize(
    ("features", "response"),
    [
        (MICROSOFTS, f"user={USER}\x01auth=Bearer good\x01\x01"),
        (
            GOOGLES,
            f"n,a={USER},\x01host=127.0.0.1\x01port=PORT\x01auth=Bearer good\x01\x01",
        ),
    ],
    ids=["XOAUTH2", "OAUTHBEARER"],
)
def test_the_response_is_as_the_mechanism_has_it(features, response) -> None:
    """As in RFC 7628 3.1, and on Google's and Microsoft's pages on XOAUTH2; then mail is taken."""
    door = Door(lambda token: token == "good")
    with door.at(features) as server:
        assert backend(server).send_messages([letter()]) == 1
        assert door.responses == [response.replace("PORT", str(server.port)).encode()]
        (auth,) = [c for _, c in server.commands if c.startswith("AUTH")]
    mechanism = "XOAUTH2" if features is MICROSOFTS else "OAUTHBEARER"
    assert auth == f"AUTH {mechanism} {b64encode(door.responses[0]).decode()}"
    assert functions.calls == [{"alias": None, "username": USER}]


def test_a_name_with_a_comma_is_written_as_sasl_wants_it() -> None:
    """It would end the field (RFC 5801 4); names outside ASCII are UTF-8."""
    door = Door(lambda _: True)
    with door.at(GOOGLES) as server, backend(server, username="a,b=jé@x") as found:
        assert found.connection is not None
    assert door.responses[0].startswith("n,a=a=2Cb=3Djé@x,\x01".encode())


@pytest.mark.parametrize("features", [MICROSOFTS, GOOGLES], ids=["XOAUTH2", "OAUTHBEARER"])
def test_a_token_that_is_too_long_for_a_command_goes_in_a_line_of_its_own(features) -> None:
    """A command's line has 512 bytes at most (RFC 4954 4): the server asks for the rest."""
    functions.tokens[:] = [LONG]
    door = Door(lambda token: token == LONG)
    with door.at(features) as server:
        assert backend(server).send_messages([letter()]) == 1
        (auth,) = [c for _, c in server.commands if c.startswith("AUTH")]
    assert auth in {"AUTH XOAUTH2", "AUTH OAUTHBEARER"}
    assert door.brought == [LONG]


@pytest.mark.parametrize("features", [MICROSOFTS, GOOGLES], ids=["XOAUTH2", "OAUTHBEARER"])
@pytest.mark.parametrize("at_once", [True, False], ids=["535", "334"])
def test_a_token_that_is_refused_is_replaced_once(features, at_once) -> None:
    """After a 535, or the 334 with an error that the client has to end; mail goes on at once."""
    functions.tokens[:] = ["old", "good"]
    door = Door(lambda token: token == "good", at_once=at_once)
    with door.at(features) as server:
        assert backend(server).send_messages([letter()]) == 1
        assert len(server.accepted) == 1
    assert door.brought == ["old", "good"]
    end = "" if features is MICROSOFTS else "AQ=="  # ^A: RFC 7628 3.2.3
    assert door.ends == ([] if at_once else [end])
    assert len(functions.calls) == 2


@pytest.mark.parametrize("at_once", [True, False], ids=["535", "334"])
def test_two_refusals_are_an_error_that_says_what_the_server_said(at_once) -> None:
    """With the error of the 334, and without a token."""
    door = Door(lambda _: False, at_once=at_once)
    with door.at(MICROSOFTS) as server, pytest.raises(TokenRefused) as raised:
        backend(server).open()
    assert raised.value.smtp_code == 535
    assert ('"scope": "https://mail.google.com/"' in str(raised.value)) is not at_once
    assert door.brought == ["good", "good"]
    assert "good" not in "".join(traceback.format_exception(raised.value))


def test_another_refusal_asks_for_no_other_token() -> None:
    """454 and 538 say nothing of the token."""
    functions.tokens[:] = ["first", "second"]
    script = lambda _, phase, __: "454 4.7.0 not now" if phase == "AUTH" else None  # noqa: E731
    with ScriptedServer(script, MICROSOFTS) as server:
        with pytest.raises(smtplib.SMTPAuthenticationError, match="454"):
            backend(server).open()
        assert server.sessions == 1
    assert len(functions.calls) == 1


def test_a_server_that_closes_after_a_refusal_is_asked_over_another_connection() -> None:
    """As it may."""
    functions.tokens[:] = ["old", "good"]
    door = Door(lambda token: token == "good", at_once=True)

    def script(session, phase, command):
        if session.number == 1 and phase not in {"connect", "EHLO", "AUTH"}:
            return CLOSE
        return door(session, phase, command)

    with ScriptedServer(script, MICROSOFTS) as server:
        assert backend(server).send_messages([letter()]) == 1
        assert server.sessions == 2


def test_a_server_that_closes_after_an_error_has_refused_the_token() -> None:
    """Where the last reply to the 334's error never comes."""
    functions.tokens[:] = ["old", "good"]
    door = Door(lambda token: token == "good")

    def script(session, phase, command):
        reply = door(session, phase, command)
        return CLOSE if door.ends and session.number == 1 else reply

    with ScriptedServer(script, MICROSOFTS) as server:
        assert backend(server).send_messages([letter()]) == 1
    assert door.brought == ["old", "good"]


@pytest.mark.parametrize("reply", ["535 5.7.3 no", CLOSE], ids=["refused", "closed"])
def test_no_frame_of_a_traceback_holds_the_token(reply) -> None:
    """Error pages and reporters show the variables of each frame."""
    functions.tokens[:] = ["s3cr3t-token"]
    script = lambda _, phase, __: reply if phase == "AUTH" else None  # noqa: E731
    with ScriptedServer(script, MICROSOFTS) as server, pytest.raises(OSError) as raised:  # noqa: PT011
        backend(server).open()
    response = b64encode(f"user={USER}\x01auth=Bearer s3cr3t-token\x01\x01".encode()).decode()
    frames = list(traceback.walk_tb(raised.value.__traceback__))
    shown = "".join(repr(frame.f_locals) for frame, _ in frames[1:])
    assert len(frames) > 2
    assert "s3cr3t-token" not in shown
    assert response not in shown


def test_a_token_that_can_not_be_had_reaches_no_server() -> None:
    """The error is an OSError, as all that send_mail() raises; fail_silently holds for it."""
    door = Door(lambda _: True)
    with door.at(MICROSOFTS) as server:
        mailqueue.configure(EMAIL_OAUTH2=f"{HERE}.failing", EMAIL_HOST_USER=USER)
        failing = EmailBackend(host="127.0.0.1", port=server.port)
        with pytest.raises(TokenUnavailable) as raised:
            failing.send_messages([letter()])
        assert isinstance(raised.value, OSError)
        failing.fail_silently = True
        assert failing.send_messages([letter()]) == 0
        assert server.sessions == 0


@pytest.mark.parametrize("features", [MICROSOFTS, GOOGLES], ids=["XOAUTH2", "OAUTHBEARER"])
@pytest.mark.parametrize("token", ["s3cr3t-token", LONG], ids=["short", "long"])
def test_neither_debug_output_nor_an_error_shows_the_token(
    features, token, capfd, monkeypatch
) -> None:
    """Not even where the server repeats what it was sent."""
    functions.tokens[:] = [token]
    monkeypatch.setattr(smtplib.SMTP, "debuglevel", 2)
    seen: list[str] = []

    def parrot(session, phase, command):
        if phase == "AUTH" and command.count(" ") == 1:
            return "334 "
        if phase == "AUTH" or command[:3] in {"dXN", "bix"}:
            response = command.rpartition(" ")[2]
            seen.append(response)
            return f"535 5.7.8 no: {response} is {token}"
        return None

    with ScriptedServer(parrot, features) as server, pytest.raises(TokenRefused) as raised:
        backend(server).open()
    output = "".join(capfd.readouterr()) + "".join(traceback.format_exception(raised.value))
    assert "EHLO" in output.upper()
    assert "(token) is (token)" in str(raised.value)
    assert token not in output
    assert seen[0] not in output


def test_a_password_is_not_in_the_debug_output_either(capfd, monkeypatch) -> None:
    """It stood there in base64."""
    monkeypatch.setattr(smtplib.SMTP, "debuglevel", 1)
    script = lambda _, phase, __: "235 in" if phase == "AUTH" else None  # noqa: E731
    with ScriptedServer(script, ("AUTH PLAIN",)) as server:
        EmailBackend(
            host="127.0.0.1", port=server.port, username="ann", password="s3cret"
        ).send_messages([letter()])
    output = "".join(capfd.readouterr())
    assert b64encode(b"\0ann\0s3cret").decode() not in output
    assert "MAIL FROM" in output.upper()


@pytest.mark.parametrize(
    ("features", "says"),
    [(("AUTH PLAIN LOGIN",), "offers PLAIN LOGIN"), ((), "offers no login; .*EMAIL_USE_TLS")],
)
def test_a_server_without_such_a_login_is_told_what_is_missing(features, says) -> None:
    """And is sent nothing."""
    with ScriptedServer(features=features) as server:
        with pytest.raises(smtplib.SMTPNotSupportedError, match=says):
            backend(server).open()
        assert server.verbs() == ["EHLO"]


def test_a_token_is_not_sent_in_clear_text_to_another_machine(monkeypatch) -> None:
    """Whoever reads it may use it; to a relay on this machine it may be sent."""
    door = Door(lambda _: True)
    monkeypatch.setattr(sasl, "_is_loopback", lambda _: False)
    with door.at(MICROSOFTS) as server, pytest.raises(smtplib.SMTPNotSupportedError, match="TLS"):
        backend(server).open()
    assert door.brought == []


@pytest.mark.parametrize(
    ("address", "is_here"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("::ffff:127.0.0.1", True),
     ("fe80::1%eth0", False), ("192.0.2.1", False), ("2001:db8::1", False)],
)  # fmt: skip
def test_which_machine_is_this_one(address: str, is_here: bool) -> None:
    """The loopback, as a socket names it."""
    assert sasl._is_loopback(address) is is_here


def test_over_tls_it_is_sent_to_anybody(monkeypatch) -> None:
    """After STARTTLS, as Microsoft's server wants it."""
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    monkeypatch.setattr(sasl, "_is_loopback", lambda _: False)
    door = Door(lambda token: token == "good")
    with door.at(("STARTTLS", *MICROSOFTS)) as server:
        server.tls = tls
        found = backend(server, use_tls=True)
        authority.configure_trust(found.ssl_context)
        assert found.send_messages([letter()]) == 1


def test_a_mailer_logs_in_by_its_own_token() -> None:
    """Its alias is told to the function."""
    door = Door(lambda token: token == f"token-for-{USER}")
    with door.at(GOOGLES) as server:
        options = {
            "host": "127.0.0.1",
            "port": server.port,
            "username": USER,
            "oauth2": f"{HERE}.with_options",
            "oauth2_options": {"key": "k"},
        }
        mailqueue.configure(MAILERS={"office": {"OPTIONS": options}})
        assert mailqueue.mailers["office"].send_messages([letter()]) == 1
    assert functions.calls[0]["alias"] == "office"


def test_a_new_connection_takes_the_token_at_hand() -> None:
    """Backends of a process share it."""
    door = Door(lambda token: token == "good")
    with door.at(GOOGLES) as server:
        for _ in range(3):
            assert backend(server).send_messages([letter()]) == 1
    assert (len(door.brought), len(functions.calls)) == (3, 1)
