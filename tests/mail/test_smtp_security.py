"""The SMTP backend's encryption and login."""

from __future__ import annotations

import smtplib
import ssl

import pytest

from mailqueue.backends.smtp import EmailBackend
from tests.mail.smtp_client import backend_for, message


def test_starttls_with_a_trusted_certificate(start_server, tls, authority) -> None:
    """use_tls: the mail goes over TLS 1.2 or later."""
    server = start_server(tls_context=tls, require_starttls=True)
    backend = backend_for(server, use_tls=True)
    authority.configure_trust(backend.ssl_context)
    with backend:
        assert backend.connection.sock.version() in {"TLSv1.2", "TLSv1.3"}
        assert backend.send_messages([message()]) == 1
    assert backend.ssl_context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_implicit_tls_with_a_trusted_certificate(start_server, tls, authority) -> None:
    """use_ssl: TLS from the first byte."""
    server = start_server(implicit_tls=tls)
    backend = backend_for(server, use_ssl=True)
    authority.configure_trust(backend.ssl_context)
    assert backend.send_messages([message()]) == 1


@pytest.mark.parametrize("kind", ["use_tls", "use_ssl"])
def test_a_certificate_that_nobody_vouches_for(start_server, tls, kind) -> None:
    """Certificates are verified by default, and the half-open connection is closed."""
    server = start_server(
        **{"use_ssl": {"implicit_tls": tls}, "use_tls": {"tls_context": tls}}[kind]
    )
    backend = backend_for(server, **{kind: True})
    with pytest.raises(ssl.SSLCertVerificationError):
        backend.open()
    assert backend.connection is None
    assert backend_for(server, fail_silently=True, **{kind: True}).send_messages([message()]) == 0
    assert server.messages == []


def test_a_certificate_for_another_name(start_server, authority) -> None:
    """The name is checked as well."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("other.example.com").configure_cert(context)
    backend = backend_for(start_server(implicit_tls=context), use_ssl=True)
    authority.configure_trust(backend.ssl_context)
    with pytest.raises(ssl.SSLCertVerificationError, match="127"):
        backend.open()


def test_no_fall_back_to_clear_text(start_server) -> None:
    """A server without STARTTLS gets no mail, and no password."""
    server = start_server()
    with pytest.raises(smtplib.SMTPNotSupportedError, match="STARTTLS"):
        backend_for(server, use_tls=True, username="ann", password="s3cret").open()
    assert server.messages == []


def test_a_client_certificate(start_server, authority, tmp_path) -> None:
    """ssl_certfile and ssl_keyfile are shown to a server that asks for them."""
    client = authority.issue_cert("ann@example.com")
    key, chain = tmp_path / "key.pem", tmp_path / "chain.pem"
    client.private_key_pem.write_to_path(key)
    client.cert_chain_pems[0].write_to_path(chain)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    server = start_server(implicit_tls=context)
    backend = backend_for(server, use_ssl=True, ssl_keyfile=str(key), ssl_certfile=str(chain))
    authority.configure_trust(backend.ssl_context)
    assert backend.send_messages([message()]) == 1


def test_a_missing_certificate_file_is_found_when_it_is_needed() -> None:
    """Not before: a backend can be made where the files aren't."""
    backend = EmailBackend(host="x", port=1, ssl_certfile="/no/such.pem")
    with pytest.raises(FileNotFoundError):
        _ = backend.ssl_context


def test_login(start_server, authenticator, tls, authority) -> None:
    """With user and password the backend logs in, after STARTTLS."""
    server = start_server(authenticator=authenticator, auth_required=True, tls_context=tls)
    backend = backend_for(server, use_tls=True, username="ann", password="s3cret")
    authority.configure_trust(backend.ssl_context)
    assert backend.send_messages([message()]) == 1


def test_a_wrong_password_is_not_shown(start_server, authenticator) -> None:
    """The error has the server's answer, the connection is closed, the password is nowhere."""
    server = start_server(authenticator=authenticator, auth_require_tls=False)
    backend = backend_for(server, username="ann", password="wr0ng")
    with pytest.raises(smtplib.SMTPAuthenticationError) as raised:
        backend.open()
    assert backend.connection is None
    assert raised.value.smtp_code == 535
    assert "wr0ng" not in str(raised.value)


def test_login_that_is_not_offered(start_server) -> None:
    """A password for a server without AUTH is an error; a user alone is none."""
    server = start_server()
    with pytest.raises(smtplib.SMTPNotSupportedError, match="SMTP AUTH extension not supported"):
        backend_for(server, username="ann", password="s3cret").open()
    with backend_for(server, username="ann") as backend:
        assert backend.connection is not None


def test_half_open_connections_are_closed(start_server) -> None:
    """After a failure in the middle of opening, the server sees the connection end."""
    server = start_server()
    with pytest.raises(smtplib.SMTPNotSupportedError):
        backend_for(server, use_tls=True).open()
    probe = backend_for(server)
    for _ in range(100):
        with probe:
            if server.closed:
                break
    assert server.closed
