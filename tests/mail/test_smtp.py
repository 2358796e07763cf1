"""The SMTP backend against real servers."""

from __future__ import annotations

import inspect
import smtplib
import socket
import threading

import pytest

import mailqueue
from mailqueue import EmailMessage
from mailqueue.backends.smtp import EmailBackend
from tests.mail.smtp_client import backend_for, message


def test_every_argument_comes_from_its_setting() -> None:
    """An argument that is None is the setting."""
    mailqueue.configure(
        EMAIL_HOST="mail.example.com",
        EMAIL_PORT=2525,
        EMAIL_HOST_USER="ann",
        EMAIL_HOST_PASSWORD="s3cret",
        EMAIL_USE_SSL=True,
        EMAIL_TIMEOUT=7,
        EMAIL_SSL_KEYFILE="key.pem",
        EMAIL_SSL_CERTFILE="cert.pem",
    )
    backend = EmailBackend()
    assert (backend.host, backend.port, backend.username) == ("mail.example.com", 2525, "ann")
    assert (backend.password, backend.use_tls, backend.use_ssl) == ("s3cret", False, True)
    assert (backend.timeout, backend.ssl_keyfile) == (7, "key.pem")
    assert backend.ssl_certfile == "cert.pem"


def test_the_signature_is_djangos() -> None:
    """Names, order and defaults, as documented: older code gives them by position."""
    parameters = [
        parameter
        for parameter in inspect.signature(EmailBackend).parameters.values()
        if parameter.kind is not parameter.KEYWORD_ONLY  # which are our own
    ]
    assert ", ".join(map(str, (p.replace(annotation=p.empty) for p in parameters))) == (
        "host=None, port=None, username=None, password=None, use_tls=None, fail_silently=False, "
        "use_ssl=None, timeout=None, ssl_keyfile=None, ssl_certfile=None, **kwargs"
    )


def test_settings_that_are_none() -> None:
    """They are the defaults: a server of one's own, without a login."""
    mailqueue.configure(EMAIL_HOST=None, EMAIL_HOST_USER=None, EMAIL_HOST_PASSWORD=None)
    mailqueue.configure(EMAIL_USE_TLS=None, EMAIL_USE_SSL=None)
    backend = EmailBackend()
    assert (backend.host, backend.username, backend.password) == ("localhost", "", "")
    assert (backend.use_tls, backend.use_ssl) == (False, False)


def test_an_argument_wins_over_its_setting() -> None:
    """Even one that is empty or False."""
    mailqueue.configure(EMAIL_HOST_USER="ann", EMAIL_HOST_PASSWORD="s3cret", EMAIL_USE_TLS=True)
    backend = EmailBackend(username="", password="", use_tls=False, host="a", port=1, timeout=3)
    assert (backend.username, backend.password, backend.use_tls) == ("", "", False)
    assert (backend.host, backend.port, backend.timeout) == ("a", 1, 3)


def test_tls_and_ssl_exclude_each_other() -> None:
    """ValueError, by argument and by setting."""
    with pytest.raises(ValueError, match="EMAIL_USE_TLS/EMAIL_USE_SSL are mutually exclusive"):
        EmailBackend(use_tls=True, use_ssl=True)
    mailqueue.configure(EMAIL_USE_TLS=True)
    with pytest.raises(ValueError, match="mutually exclusive"):
        EmailBackend(use_ssl=True)


def test_a_message_arrives(server) -> None:
    """Sender, recipients and content, and the number of messages is returned."""
    sent = message("bob@example.com", bcc=["eve@example.com"])
    assert backend_for(server).send_messages([sent]) == 1
    (got,) = server.messages
    assert (got.mail_from, got.rcpt_tos) == (
        "ann@example.com",
        ["bob@example.com", "eve@example.com"],
    )
    assert b"Subject: Subject\r\n" in got.content
    assert b"eve@" not in got.content


def test_a_recipient_named_twice_gets_one_copy(server) -> None:
    """Once in to and once in bcc is still one RCPT."""
    backend_for(server).send_messages([message("bob@example.com", bcc=["Bob <bob@example.com>"])])
    assert server.messages[0].rcpt_tos == ["bob@example.com"]


def test_nothing_to_send_opens_nothing(server) -> None:
    """An empty list, None, and a message to nobody."""
    backend = backend_for(server)
    assert backend.send_messages([]) == 0
    assert backend.send_messages(None) == 0
    assert server.sessions == 0
    assert backend.send_messages([EmailMessage("to nobody"), message()]) == 1


def test_the_wire_has_only_crlf(server) -> None:
    """Bare CR and LF in the body become CRLF, dots are kept, nothing is lost."""
    backend_for(server).send_messages([message(body="a\nb\rc\r\n.d\n..e\n")])
    content = server.messages[0].content
    assert content.endswith(b"\r\n\r\na\r\nb\r\nc\r\n.d\r\n..e\r\n")
    assert b"\n" not in content.replace(b"\r\n", b"")
    assert b"\r" not in content.replace(b"\r\n", b"")


def test_the_envelope_sender_is_from_email(server) -> None:
    """Also if a From header shows another."""
    backend_for(server).send_messages([message(headers={"From": "Shop <shop@example.com>"})])
    assert server.messages[0].mail_from == "ann@example.com"
    assert b"From: Shop <shop@example.com>\r\n" in server.messages[0].content


def test_idna_domains_need_no_extension(start_server) -> None:
    """They go to any server."""
    server = start_server()
    backend_for(server).send_messages([message("Bob <bob@bücher.example>", from_email="a@ä.de")])
    assert server.messages[0].rcpt_tos == ["bob@xn--bcher-kva.example"]
    assert server.messages[0].mail_from == "a@xn--4ca.de"


def test_dots_where_no_atom_has_them_are_quoted(start_server) -> None:
    """Addresses of large providers arrive, and stand in each header as RFC 5322 writes them."""
    server = start_server()
    odd = ["a..b@example.jp", "Bob <b.@example.jp>", '"Doe, Jane" <.c@example.jp>']
    sent = message(*odd, cc=odd[1:], bcc=["d..@example.jp"], reply_to=odd, from_email=odd[0])
    backend_for(server).send_messages([sent])
    (got,) = server.messages
    assert got.mail_from == "a..b@example.jp"  # the server's parser takes the quotes away
    assert got.rcpt_tos == [f"{local}@example.jp" for local in ("a..b", "b.", ".c", "d..")]
    fields = got.content.replace(b"\r\n ", b" ").splitlines()
    to = b'"a..b"@example.jp, Bob <"b."@example.jp>, "Doe, Jane" <".c"@example.jp>'
    assert {b'From: "a..b"@example.jp', b"To: " + to, b"Reply-To: " + to} <= {*fields}
    assert b'Cc: Bob <"b."@example.jp>, "Doe, Jane" <".c"@example.jp>' in fields


def test_smtputf8_is_used_where_it_is_needed(server) -> None:
    """A local part outside ASCII: the headers are in UTF-8, and the server is told."""
    backend_for(server).send_messages([message("jörg@example.com"), message()])
    first, second = server.messages
    assert first.rcpt_tos == ["jörg@example.com"]
    assert "To: jörg@example.com\r\n".encode() in first.content
    assert ("SMTPUTF8" in first.mail_options, "SMTPUTF8" in second.mail_options) == (True, False)


def test_smtputf8_that_is_not_offered(start_server) -> None:
    """ValueError with the address; the connection is closed."""
    server = start_server()
    backend = backend_for(server)
    with pytest.raises(ValueError, match=r"'jörg@example\.com': local-part contains non-ASCII"):
        backend.send_messages([message("jörg@example.com")])
    assert backend.connection is None
    assert server.messages == []


def test_8bit_is_announced(server) -> None:
    """BODY=8BITMIME where there is an eighth bit."""
    backend_for(server).send_messages([message(body="Grüße"), message()])
    assert [m.mail_options.count("BODY=8BITMIME") for m in server.messages] == [1, 0]


def test_8bit_that_is_not_offered(start_server) -> None:
    """A server without 8BITMIME gets seven bits."""
    server = start_server()
    server.hidden = {"8BITMIME"}
    backend_for(server).send_messages([message(body="Grüße")])
    assert server.messages[0].content.isascii()
    assert b"Content-Transfer-Encoding: base64" in server.messages[0].content


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_no_newline_reaches_a_command(server, end) -> None:
    """Not in a recipient, a Bcc or the sender: ValueError, and nothing is sent."""
    evil = f"bob@example.com{end}RCPT TO:<eve@example.com>"
    for arguments in ({"to": [evil]}, {"bcc": [evil]}, {"from_email": evil}):
        mail = EmailMessage(**{"to": ["bob@example.com"]} | arguments)
        with pytest.raises(ValueError, match="linefeed"):
            backend_for(server).send_messages([mail])
    assert server.messages == []


def test_header_errors_are_never_silent(server) -> None:
    """fail_silently is for servers, not for mistakes of the caller."""
    with pytest.raises(ValueError, match="linefeed"):
        backend_for(server, fail_silently=True).send_messages([message(subject="a\nb")])


def test_open_tells_whether_it_opened(server) -> None:
    """True, then False while it is open; closing twice is fine."""
    backend = backend_for(server)
    assert backend.open() is True
    assert isinstance(backend.connection, smtplib.SMTP)
    assert backend.open() is False
    backend.close()
    backend.close()
    assert backend.connection is None
    assert backend.open() is True
    backend.close()
    assert server.sessions == 2


def test_who_opens_closes(server) -> None:
    """send_messages closes what it opened, and leaves open what was."""
    backend = backend_for(server)
    backend.send_messages([message()])
    assert backend.connection is None
    with backend:
        backend.send_messages([message()])
        assert backend.connection is not None
        message(connection=backend).send()
        backend.send_messages([message(), message()])
    assert backend.connection is None
    assert (len(server.messages), server.sessions) == (5, 2)


def test_it_is_closed_when_sending_fails(server) -> None:
    """The error comes through, and the connection that was opened for it is gone."""
    server.rcpt_reply = "550 no such user"
    backend = backend_for(server)
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        backend.send_messages([message()])
    assert backend.connection is None


def test_a_refused_message_leaves_the_connection_usable(server) -> None:
    """An answer of the server is no reason to connect anew."""
    with backend_for(server, fail_silently=True) as backend:
        server.data_reply = "554 spam"
        assert backend.send_messages([message()]) == 0
        server.data_reply = "250 OK"
        assert backend.send_messages([message()]) == 1
    assert server.sessions == 1


def test_a_lost_connection_is_forgotten(server) -> None:
    """After a 421, and after the server has hung up, the next call makes a new connection."""
    backend = backend_for(server)
    backend.open()
    server.data_reply = "421 going down"
    with pytest.raises(smtplib.SMTPDataError):
        backend.send_messages([message()])
    assert backend.connection is None
    server.data_reply = "250 OK"
    backend.open()
    backend.connection.sock.shutdown(socket.SHUT_RDWR)
    with pytest.raises(smtplib.SMTPServerDisconnected):
        backend.send_messages([message()])
    assert backend.connection is None
    assert backend.send_messages([message()]) == 1


def test_closing_a_lost_connection_is_no_error(server) -> None:
    """What was sent was answered: an error here would make the caller send it again."""
    backend = backend_for(server)
    backend.open()
    backend.connection.sock.shutdown(socket.SHUT_RDWR)
    backend.close()
    assert backend.connection is None


def test_no_server() -> None:
    """The OSError of the network; with fail_silently None from open() and 0 messages."""
    with pytest.raises(ConnectionRefusedError):
        EmailBackend(host="127.0.0.1", port=1).open()
    silent = EmailBackend(host="127.0.0.1", port=1, fail_silently=True)
    assert (silent.open(), silent.send_messages([message()])) == (None, 0)


def test_a_server_that_says_nothing() -> None:
    """The time-out holds, and nothing is left open."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        backend = EmailBackend(host="127.0.0.1", port=listening.getsockname()[1], timeout=0.2)
        with pytest.raises(OSError, match="timed out"):
            backend.open()
        assert backend.connection is None


def test_without_a_timeout_the_sockets_default_holds(server) -> None:
    """EMAIL_TIMEOUT is None by default, which means socket.getdefaulttimeout()."""
    socket.setdefaulttimeout(9)
    try:
        with backend_for(server) as backend:
            assert backend.connection.sock.gettimeout() == 9
    finally:
        socket.setdefaulttimeout(None)


def test_threads_take_turns(server) -> None:
    """One backend, many threads: each message arrives whole, each once."""
    backend = backend_for(server)
    errors = []

    def send(number: int) -> None:
        try:
            assert backend.send_messages([message(subject=f"number {number}")]) == 1
        except Exception as error:  # noqa: BLE001 - shown below
            errors.append(error)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    subjects = sorted(m.content.split(b"Subject: ")[1].split(b"\r\n")[0] for m in server.messages)
    assert subjects == [b"number %d" % number for number in range(8)]


def test_threads_open_one_connection(server) -> None:
    """However many open at once, one does it, and nothing is left over."""
    backend = backend_for(server)
    together = threading.Barrier(5)
    opened = []

    def open_() -> None:
        together.wait()
        opened.append(backend.open())

    threads = [threading.Thread(target=open_) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    backend.close()
    assert (sorted(opened), server.sessions) == ([False] * 4 + [True], 1)


def test_closing_waits_for_what_is_being_sent(server) -> None:
    """A thread that closes again and again spoils no message of another."""
    backend = backend_for(server)
    done = threading.Event()

    def close() -> None:
        while not done.is_set():
            backend.close()

    thread = threading.Thread(target=close)
    thread.start()
    try:
        assert backend.send_messages([message() for _ in range(50)]) == 50
    finally:
        done.set()
        thread.join()
    assert len(server.messages) == 50


def test_the_connection_of_a_message_is_ignored_by_send_messages(server) -> None:
    """A backend sends what it is given, whatever else the message says."""
    other = EmailBackend(host="nowhere.invalid", port=1)
    assert backend_for(server).send_messages([message(connection=other)]) == 1
    assert len(server.messages) == 1


def test_send_mail_opens_a_connection_each_time(server) -> None:
    """Unlike send_mass_mail: two calls are two sessions."""
    for _ in range(2):
        mailqueue.send_mail("Subject", "Body", "ann@example.com", ["bob@example.com"])
    assert server.sessions == 2


def test_the_old_name_still_resolves() -> None:
    """SMTPConnection is the SMTP backend, with a warning."""
    with pytest.warns(DeprecationWarning, match="SMTPConnection is deprecated"):
        assert mailqueue.SMTPConnection is EmailBackend
