"""The backends that send nothing: console, file, memory, dummy; and the base of all."""

from __future__ import annotations

import io
import os
import re
import threading
import warnings
from email import message_from_bytes, policy
from email.message import MIMEPart

import pytest

import mailqueue
from mailqueue import EmailMessage
from mailqueue.backends import base, console, dummy, filebased, locmem
from mailqueue.errors import ImproperlyConfigured, InvalidMailer


def message(subject: str = "Subject", **arguments) -> EmailMessage:
    """A message that needs encoding."""
    return EmailMessage(subject, "Grüße", "ann@example.com", ["bob@example.com"], **arguments)


class Recording(base.BaseEmailBackend):
    """Notes what is called."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.calls = []

    def open(self):
        self.calls.append("open")
        if self.fail_silently:
            raise OSError("no")
        return True

    def close(self):
        self.calls.append("close")


def test_the_context_manager_opens_and_closes() -> None:
    """Also when the block fails."""
    backend = Recording()
    with backend as entered:
        assert (entered, backend.calls) == (backend, ["open"])
    assert backend.calls == ["open", "close"]
    with pytest.raises(LookupError), backend:
        raise LookupError
    assert backend.calls == ["open", "close"] * 2


def test_the_context_manager_closes_what_did_not_open() -> None:
    """An error of open() comes through, and nothing is left half open."""
    backend = Recording(fail_silently=True)
    with pytest.raises(OSError, match="no"):
        backend.__enter__()
    assert backend.calls == ["open", "close"]


def test_the_base_must_be_subclassed() -> None:
    """open() and close() do nothing; send_messages() says what is missing."""
    backend = base.BaseEmailBackend()
    assert (backend.open(), backend.close(), backend.fail_silently) == (None, None, False)
    with pytest.raises(NotImplementedError, match=r"must override send_messages\(\)"):
        backend.send_messages([])


def test_dummy_counts() -> None:
    """It does nothing, and says that all were sent."""
    assert dummy.EmailBackend().send_messages([message(), message()]) == 2
    assert dummy.EmailBackend().send_messages(iter([message()])) == 1


def test_the_outbox_exists_once_a_backend_has_been_made() -> None:
    """Before that there is no mailqueue.outbox."""
    assert not hasattr(mailqueue, "outbox")
    locmem.EmailBackend()
    assert mailqueue.outbox == []
    del mailqueue.outbox


def test_the_outbox_holds_copies(outbox) -> None:
    """Changing the message afterwards does not change what was sent."""
    sent = message(attachments=[("a", b"1")], headers={"X": "y"})
    assert locmem.EmailBackend().send_messages([sent]) == 1
    sent.subject = "changed"
    sent.to.append("eve@example.com")
    sent.attach("b", b"2")
    sent.extra_headers["X"] = "z"
    (kept,) = outbox
    assert (kept.subject, kept.to) == ("Subject", ["bob@example.com"])
    assert (len(kept.attachments), kept.extra_headers) == (1, {"X": "y"})


def test_the_outbox_tells_by_which_mailer_a_message_was_sent() -> None:
    """``sent_using`` is the alias, or None where none was named; the message itself has none."""
    backend = {"BACKEND": "mailqueue.backends.locmem.EmailBackend"}
    mailqueue.configure(MAILERS={"default": backend, "news": backend})
    sent = message()
    assert sent.send(using="news") == sent.send() == 1
    locmem.EmailBackend().send_messages([sent])
    assert [one.sent_using for one in mailqueue.outbox] == ["news", "default", None]
    assert not hasattr(sent, "sent_using")


class Warning61(mailqueue.EmailMessage):
    """A message like Django 6.1's: to look at its connection warns."""

    @property
    def connection(self):  # type: ignore[override]
        warnings.warn("The EmailMessage.connection attribute is deprecated", stacklevel=2)
        return self._connection

    @connection.setter
    def connection(self, value):
        self._connection = value


def test_the_outbox_does_not_look_at_a_connection_that_warns(outbox) -> None:
    """Django 6.1 warns who reads ``message.connection``, which is shared with the copy."""
    connection = dummy.EmailBackend()
    sent = Warning61("Hello", "", None, ["bob@example.com"], connection=connection)
    assert locmem.EmailBackend().send_messages([sent]) == 1
    assert outbox[0]._connection is connection


def test_the_outbox_copies_a_message_with_a_connection(server, outbox) -> None:
    """A connection has a lock and a socket, which can't be copied and need not be."""
    with mailqueue.get_connection("mailqueue.backends.smtp.EmailBackend") as connection:
        locmem.EmailBackend().send_messages([message(connection=connection)])
        assert outbox[0].connection is connection


def test_the_outbox_holds_copies_of_parts(outbox) -> None:
    """A part that is reused with other content does not change what was sent, nor do lists."""
    part = MIMEPart()
    part.set_content("first")
    sent = message(attachments=[part], headers={"X-List": ["a"]})
    locmem.EmailBackend().send_messages([sent])
    part.set_content("second")
    sent.extra_headers["X-List"].append("b")
    assert outbox[0].attachments[0].get_content() == "first\n"
    assert outbox[0].extra_headers == {"X-List": ["a"]}


class NotToBeCopied:
    """Says so, in its own words."""

    def __deepcopy__(self, memo):
        raise ValueError("not me")


@pytest.mark.parametrize("kind", [threading.Lock, NotToBeCopied])
def test_the_outbox_copies_a_message_with_what_cannot_be_copied(outbox, kind) -> None:
    """A lock on the message is no error; all the rest is copied to the bottom all the same."""
    sent = message(headers={"X-List": ["a"]})
    sent.own, sent.several = kind(), [kind()]
    locmem.EmailBackend().send_messages([sent])
    sent.to.append("eve@example.com")
    sent.extra_headers["X-List"].append("b")
    sent.several.append(None)
    (kept,) = outbox
    assert (kept.own, kept.to, kept.extra_headers) == (
        sent.own,
        ["bob@example.com"],
        {"X-List": ["a"]},
    )
    assert kept.several == sent.several[:1]


def test_header_errors_surface_in_memory(outbox) -> None:
    """A test finds the bad header that production would have refused."""
    with pytest.raises(ValueError, match="linefeed"):
        locmem.EmailBackend().send_messages([message("a\nb")])
    assert outbox == []


def test_the_console_prints(capsys) -> None:
    """Each message and a line under it, on the standard output."""
    assert console.EmailBackend().send_messages([message(), message("Grüße")]) == 2
    printed = capsys.readouterr().out
    first, second, rest = printed.split("\n" + "-" * 79 + "\n")
    assert "Subject: Subject\n" in first
    assert "\n\nGrüße\n" in first
    assert "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\n" in second
    assert rest == ""


def test_the_console_takes_a_stream() -> None:
    """Anything with write() and flush()."""
    stream = io.StringIO()
    assert console.EmailBackend(stream=stream).send_messages([message()]) == 1
    assert "To: bob@example.com\n" in stream.getvalue()
    assert console.EmailBackend(stream=stream).send_messages([]) == 0


def test_the_console_prints_other_charsets_and_addresses() -> None:
    """Latin-1 is shown as text, and so is an address that needs SMTPUTF8."""
    stream = io.StringIO()
    mail = EmailMessage("s", "Grüße", "jörg@example.com")
    mail.encoding = "iso-8859-1"
    console.EmailBackend(stream=stream).send_messages([mail])
    assert "\n\nGrüße\n" in stream.getvalue()
    assert "From: jörg@example.com\n" in stream.getvalue()


def test_the_console_builds_a_message_once() -> None:
    """A subclass may do something there that must not be done twice."""

    class Counting(EmailMessage):
        built = 0

        def message(self, **kwargs):
            self.built += 1
            return super().message(**kwargs)

    mail = Counting("s", "Grüße", "ann@example.com", ["bob@example.com"])
    console.EmailBackend(stream=io.StringIO()).send_messages([mail])
    assert mail.built == 1


def test_the_console_fails_silently_if_it_is_told_to() -> None:
    """Errors come through, or are hidden with fail_silently."""
    closed = io.StringIO()
    closed.close()
    assert console.EmailBackend(fail_silently=True, stream=closed).send_messages([message()]) == 0
    with pytest.raises(ValueError, match="closed file"):
        console.EmailBackend(stream=closed).send_messages([message()])


def files(directory) -> list[bytes]:
    """The contents of the files there."""
    return [path.read_bytes() for path in directory.iterdir()]


def test_a_new_file_for_each_session(tmp_path) -> None:
    """Messages of one call or one open session share a file; the next session has another."""
    backend = filebased.EmailBackend(file_path=tmp_path)
    assert backend.send_messages([message("one"), message("two")]) == 2
    assert len(files(tmp_path)) == 1
    with backend:
        assert backend.open() is False
        backend.send_messages([message("three")])
        backend.send_messages([message("four")])
    counts = sorted(len(re.findall(rb"(?m)^Subject: ", content)) for content in files(tmp_path))
    assert counts == [2, 2]
    assert filebased.EmailBackend(file_path=tmp_path).send_messages([]) == 0
    assert len(files(tmp_path)) == 2


def test_a_file_can_be_read_as_mail(tmp_path) -> None:
    """What stands before the line of dashes is the message."""
    filebased.EmailBackend(file_path=tmp_path).send_messages([message()])
    (content,) = files(tmp_path)
    text, dashes, rest = content.partition(b"\n" + b"-" * 79 + b"\n")
    assert message_from_bytes(text, policy=policy.default).get_content() == "Grüße\n"
    assert (bool(dashes), rest) == (True, b"")


def test_the_directory_is_a_setting_and_is_made(tmp_path) -> None:
    """EMAIL_FILE_PATH, with its parents."""
    mailqueue.configure(EMAIL_FILE_PATH=str(tmp_path / "a" / "b"))
    filebased.EmailBackend().send_messages([message()])
    assert len(files(tmp_path / "a" / "b")) == 1


def test_a_directory_that_is_a_file(tmp_path) -> None:
    """ImproperlyConfigured says so, with the path."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ImproperlyConfigured, match=f"is not a directory: {tmp_path}/file"):
        filebased.EmailBackend(file_path=tmp_path / "file")
    with pytest.raises(ImproperlyConfigured, match="Could not create directory"):
        filebased.EmailBackend(file_path=tmp_path / "file" / "more")


def test_a_directory_of_a_mailer_that_cannot_be_used(tmp_path, monkeypatch) -> None:
    """InvalidMailer names the mailer, and the option instead of the setting."""
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(os, "access", lambda _, mode: mode != os.W_OK)
    for path, text in (
        ("", "OPTIONS must define 'file_path'"),
        (tmp_path / "file", "'file_path' is not a directory: "),
        (tmp_path / "file" / "more", "Could not create 'file_path': "),
        (tmp_path, "'file_path' is not writable: "),
    ):
        with pytest.raises(InvalidMailer, match=rf"^MAILERS\['files'\]: {text}") as raised:
            filebased.EmailBackend(file_path=path, alias="files")
        assert raised.value.alias == "files"


def test_no_directory_at_all() -> None:
    """ImproperlyConfigured names the setting."""
    with pytest.raises(ImproperlyConfigured, match="The EMAIL_FILE_PATH setting must be set"):
        filebased.EmailBackend()


def test_a_directory_that_cannot_be_written(tmp_path, monkeypatch) -> None:
    """ImproperlyConfigured when the backend is made, not when the first mail is lost."""
    # Tests may run as root, who may write everywhere.
    monkeypatch.setattr(os, "access", lambda _, mode: mode != os.W_OK)
    with pytest.raises(ImproperlyConfigured, match=f"Could not write to directory: {tmp_path}"):
        filebased.EmailBackend(file_path=tmp_path)
