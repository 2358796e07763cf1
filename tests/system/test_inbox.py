"""The inbox over real sockets: what it stores, what it refuses, and what it leaves behind."""

from __future__ import annotations

import mailbox
import signal
import smtplib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mailqueue.errors import MailqueueError
from mailqueue.local.inbox import Inbox, InboxError

MESSAGE = b"Subject: Hello\r\nX-Odd:  spaces  \r\n\r\n.A dot\r\n\r\n\xff\x00 bytes \r\n\r\n"


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    """An inbox that listens."""
    with Inbox(tmp_path / "mail") as inbox:
        yield inbox


@pytest.fixture
def client(inbox: Inbox) -> Iterator[smtplib.SMTP]:
    """A connection to the inbox, greeted."""
    with smtplib.SMTP(inbox.host, inbox.port, timeout=60) as client:
        client.ehlo()
        yield client


def stored(inbox: Inbox) -> list[bytes]:
    """Every message in the Maildir, as its bytes on disk."""
    return [file.read_bytes() for file in (inbox.maildir / "new").iterdir()]


def test_stores_the_bytes_below_the_envelope(inbox: Inbox, client: smtplib.SMTP) -> None:
    """What was sent lies in the Maildir unchanged, below two lines with its envelope."""
    client.sendmail("from@example.com", ["a@example.com", "b@example.com"], MESSAGE)
    envelope = b"Return-Path: <from@example.com>\r\nX-Envelope-To: a@example.com, b@example.com\r\n"
    assert stored(inbox) == [envelope + MESSAGE]


def test_is_a_maildir(inbox: Inbox, client: smtplib.SMTP) -> None:
    """Python's own mailbox module reads it."""
    client.sendmail("from@example.com", ["to@example.com"], MESSAGE)
    (message,) = mailbox.Maildir(inbox.maildir, create=False)
    assert message["Subject"] == "Hello"
    assert message["X-Envelope-To"] == "to@example.com"
    assert list((inbox.maildir / "tmp").iterdir()) == []


def test_the_empty_return_path(inbox: Inbox, client: smtplib.SMTP) -> None:
    """A bounce, which has no sender, is taken too."""
    client.sendmail("", ["to@example.com"], MESSAGE)
    assert stored(inbox)[0].startswith(b"Return-Path: <>\r\n")


def test_international_addresses(inbox: Inbox, client: smtplib.SMTP) -> None:
    """SMTPUTF8 is offered, and such addresses are kept in UTF-8."""
    client.sendmail("jörg@example.com", ["zoë@example.com"], MESSAGE, mail_options=["SMTPUTF8"])
    assert stored(inbox)[0].startswith(
        "Return-Path: <jörg@example.com>\r\nX-Envelope-To: zoë@example.com\r\n".encode()
    )


def test_no_header_comes_from_an_envelope(inbox: Inbox, client: smtplib.SMTP) -> None:
    """A bare carriage return in an address can't start a line of its own."""
    client.send(b'MAIL FROM:<"a\rX-Forged: 1"@example.com>\r\n')
    assert client.getreply()[0] == 250
    client.rcpt("to@example.com")
    client.data(MESSAGE)
    assert b"\rX-Forged" not in stored(inbox)[0]


def test_takes_large_messages(inbox: Inbox, client: smtplib.SMTP) -> None:
    """The offered SIZE is above 50 MiB, and a large message arrives whole."""
    assert int(client.esmtp_features["size"]) >= 50 * 1024**2
    body = b"Subject: Large\r\n\r\n" + b"x" * 70 + b"\r\n" + (b"y" * 76 + b"\r\n") * 50_000
    client.sendmail("from@example.com", ["to@example.com"], body)
    assert stored(inbox)[0].endswith(body)


@pytest.mark.parametrize("code", [421, 450, 451, 452, 471])
def test_a_4yz_tag_is_refused_once(inbox: Inbox, code: int) -> None:
    """An address with a 4yz tag is refused with this code at first, then accepted."""
    recipient = f"anyone+{code}@example.com"
    with (
        smtplib.SMTP(inbox.host, inbox.port, timeout=60) as client,
        pytest.raises(smtplib.SMTPRecipientsRefused) as caught,
    ):
        client.sendmail("from@example.com", [recipient], MESSAGE)
    refusal = f"4.7.1 <{recipient}> refused for now, try again later"
    assert caught.value.recipients == {recipient: (code, refusal.encode())}
    with smtplib.SMTP(inbox.host, inbox.port, timeout=60) as client:
        assert client.sendmail("from@example.com", [recipient], MESSAGE) == {}
    assert len(stored(inbox)) == 1


@pytest.mark.parametrize("code", [550, 553])
def test_a_5yz_tag_is_always_refused(inbox: Inbox, client: smtplib.SMTP, code: int) -> None:
    """An address with a 5yz tag is refused with this code, however often it is tried."""
    recipient = f"anyone+{code}@example.com"
    for _ in range(3):
        with pytest.raises(smtplib.SMTPRecipientsRefused) as caught:
            client.sendmail("from@example.com", [recipient], MESSAGE)
        assert caught.value.recipients == {
            recipient: (code, f"5.1.1 <{recipient}> no such mailbox".encode())
        }
    assert stored(inbox) == []


def test_each_recipient_has_its_own_reply(inbox: Inbox, client: smtplib.SMTP) -> None:
    """A message goes to those recipients that weren't refused."""
    recipients = ["a@example.com", "b+451@example.com", "c+550@example.com"]
    refused = client.sendmail("from@example.com", recipients, MESSAGE)
    assert {address: code for address, (code, _) in refused.items()} == {
        "b+451@example.com": 451,
        "c+550@example.com": 550,
    }
    assert b"\nX-Envelope-To: a@example.com\r\n" in stored(inbox)[0]


@pytest.mark.parametrize(
    "recipient", ["a+4510@example.com", "a+250@example.com", "451@example.com", "a@b+451.example"]
)
def test_other_addresses_are_no_tags(client: smtplib.SMTP, recipient: str) -> None:
    """Only a tag of exactly three digits that begin with 4 or 5, before the @, has a meaning."""
    assert client.sendmail("from@example.com", [recipient], MESSAGE) == {}


def test_421_ends_the_connection(client: smtplib.SMTP) -> None:
    """After a 421 the server closes the connection."""
    client.mail("from@example.com")
    assert client.rcpt("anyone+421@example.com")[0] == 421
    with pytest.raises(smtplib.SMTPServerDisconnected):
        client.noop()


def test_a_restart_forgets_what_was_refused(tmp_path: Path) -> None:
    """The first time is counted from the start of the inbox."""
    inbox = Inbox(tmp_path)
    for _ in range(2):
        with inbox, smtplib.SMTP(inbox.host, inbox.port, timeout=60) as client:
            client.ehlo()
            client.mail("from@example.com")
            assert client.rcpt("anyone+451@example.com")[0] == 451


def test_many_clients_at_once(inbox: Inbox) -> None:
    """Each of a thousand messages over ten connections lies there once."""

    def send(sender: int) -> None:
        with smtplib.SMTP(inbox.host, inbox.port, timeout=60) as client:
            for number in range(100):
                client.sendmail(f"{sender}.{number}@example.com", ["to@example.com"], MESSAGE)

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(send, range(10)))
    assert len(set(stored(inbox))) == len(stored(inbox)) == 1000


def test_a_full_disk_is_a_temporary_refusal(inbox: Inbox, client: smtplib.SMTP) -> None:
    """A message that can't be stored is refused for now, and the next one is welcome."""
    (inbox.maildir / "tmp").rmdir()
    with pytest.raises(smtplib.SMTPDataError) as caught:
        client.sendmail("from@example.com", ["to@example.com"], MESSAGE)
    assert caught.value.smtp_code == 451
    (inbox.maildir / "tmp").mkdir()
    assert client.sendmail("from@example.com", ["to@example.com"], MESSAGE) == {}


def test_an_aborted_message_is_not_stored(inbox: Inbox) -> None:
    """A connection that ends before the final dot leaves nothing behind."""
    with smtplib.SMTP(inbox.host, inbox.port, timeout=60) as client:
        client.ehlo()
        client.mail("from@example.com")
        client.rcpt("to@example.com")
        assert client.docmd("DATA")[0] == 354
        client.send(MESSAGE)
        client.close()
    inbox.stop()
    assert [file for file in inbox.maildir.rglob("*") if file.is_file()] == []


def test_stop_leaves_nothing(tmp_path: Path) -> None:
    """After stop, even amid a dialogue, no thread runs, and port and connection are closed."""
    before = set(threading.enumerate())
    inbox = Inbox(tmp_path)
    inbox.start()
    with smtplib.SMTP(inbox.host, inbox.port, timeout=60) as client:
        client.ehlo()
        client.mail("from@example.com")
        inbox.stop()
        assert set(threading.enumerate()) == before
        with pytest.raises(smtplib.SMTPServerDisconnected):
            client.noop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((inbox.host, inbox.port), timeout=60)
    inbox.stop()


def test_the_port_is_free_again(tmp_path: Path) -> None:
    """An inbox that is started again listens on the port that it had."""
    inbox = Inbox(tmp_path)
    with inbox, smtplib.SMTP(inbox.host, inbox.port, timeout=60):
        port = inbox.port
    with inbox, smtplib.SMTP(inbox.host, port, timeout=60) as client:
        assert client.noop()[0] == 250


def test_a_taken_port_is_an_error(inbox: Inbox, tmp_path: Path) -> None:
    """Who asks for a port that is taken is told which, and may try another."""
    other = Inbox(tmp_path / "other", port=inbox.port)
    with pytest.raises(MailqueueError, match=rf"127\.0\.0\.1:{inbox.port}"):
        other.start()
    other.port = 0
    with other:
        assert other.port not in (0, inbox.port)


def test_a_second_start_is_an_error(inbox: Inbox) -> None:
    """An inbox that listens can't be started again, and goes on listening."""
    with pytest.raises(InboxError, match=str(inbox.port)):
        inbox.start()
    with smtplib.SMTP(inbox.host, inbox.port, timeout=60) as client:
        assert client.noop()[0] == 250


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without aiosmtpd the error says what to install."""
    monkeypatch.setitem(sys.modules, "aiosmtpd.smtp", None)
    with pytest.raises(InboxError, match=r'pip install "mailqueue\[inbox\]"'):
        Inbox(tmp_path).start()


def test_serves_until_an_interrupt(tmp_path: Path) -> None:
    """A program that serves forever ends by Ctrl-C, cleanly, and says nothing."""
    source = """
import logging
import sys
from pathlib import Path
from mailqueue.local.inbox import Inbox
logging.getLogger("asyncio").setLevel("ERROR")  # it tells of steps of 0.1 s
with Inbox(Path(sys.argv[1])) as inbox:
    try:
        print(inbox.port, flush=True)
        inbox.serve_forever()
    except KeyboardInterrupt:
        print("stopping", flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "error", "-c", source, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=Path(__file__).parents[2],
        text=True,
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
            client.sendmail("from@example.com", ["to@example.com"], MESSAGE)
            process.send_signal(signal.SIGINT)
            assert process.stdout.read() == "stopping\n"
    assert process.returncode == 0
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_serve_forever_ends_with_stop(inbox: Inbox) -> None:
    """A thread that waits in serve_forever goes on when the inbox is stopped."""
    waiting = threading.Thread(target=inbox.serve_forever)
    waiting.start()
    inbox.stop()
    waiting.join(60)
    assert not waiting.is_alive()
