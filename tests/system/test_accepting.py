"""What `send()` accepts, and what it refuses: once, whole and in bounded memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from email.message import MIMEPart

import pytest
import redis

from mailqueue import EmailMessage, get_connection
from mailqueue.errors import ImproperlyConfigured
from mailqueue.monitor import report
from mailqueue.queue.journal import open_journal
from tests.support import wait_until
from tests.system.letters import fate, letter, wait_for_state

pytestmark = pytest.mark.usefixtures("producer")


def test_a_message_id_can_be_asked_for_while_nothing_was_sent(smtp_server):
    """`mailqueue_id` is set when `send()` returns."""
    message = letter()
    assert message.send() == 1
    assert fate(message)["state"] == "queued"
    assert smtp_server.received == []


def test_a_message_without_recipients_is_passed_over():
    """As with Django's backends, it counts as not sent, and nothing is accepted."""
    assert get_connection().send_messages([letter([])]) == 0
    assert get_connection().send_messages([]) == 0
    assert report.find(report.Filter()) == []


class Filtered(EmailMessage):
    """Says who gets it by something that can be read once."""

    def recipients(self):
        return filter(None, self.to)


def test_recipients_that_can_be_read_once_are_all_on_record():
    """And one that is for nobody is passed over."""
    message = Filtered("Hello", "A letter", "from@example.com", ["to@example.com"])
    assert get_connection().send_messages([message, Filtered("For nobody")]) == 1
    assert [found["address"] for found in fate(message)["recipients"]] == message.to


def test_a_backend_may_name_its_queue():
    """All its messages go there, but those that name one themselves."""
    messages = [letter(), letter()]
    messages[1].queue = "receipts"
    assert get_connection(queue="newsletters").send_messages(messages) == 2
    assert [fate(message)["queue"] for message in messages] == ["newsletters", "receipts"]


def test_a_wrong_setting_is_an_error_before_anything_is_accepted(monkeypatch):
    """However many messages there are."""
    monkeypatch.setenv("MAILQUEUE_BATCH_SIZE", "many")
    for number in (1, 50, 250):
        with pytest.raises(ImproperlyConfigured, match="BATCH_SIZE"):
            get_connection().send_messages([letter() for _ in range(number)])
    monkeypatch.delenv("MAILQUEUE_BATCH_SIZE")
    assert open_journal().totals() == {}


def test_sending_an_object_twice_sends_two_messages(start_worker, smtp_server):
    """As with Django's backends; each has its own id."""
    message = letter()
    message.send()
    first = message.mailqueue_id
    message.send()
    assert message.mailqueue_id != first
    worker = start_worker()
    wait_until(lambda: len(smtp_server.received) == 2, 20, worker.explain)


def test_one_bad_message_in_a_list_is_an_error_before_anything_is_accepted():
    """A newline in a header is the caller's to mend, and nothing was queued."""
    bad = letter(subject="Hello\nBcc: everybody@example.com")
    with pytest.raises(ValueError, match="linefeed or carriage return"):
        get_connection().send_messages([letter(), bad, letter()])
    assert report.find(report.Filter()) == []


LARGE = bytes(range(256)) * 1024  # 256 KiB


def test_a_large_attachment_is_stored_once_and_arrives_with_every_message(
    start_worker, smtp_server, redis_url
):
    """However many carry it; neither tasks nor payloads hold it, and at the end it is gone."""
    messages = [letter(f"to{n}@example.com") for n in range(20)]
    for message in messages:
        message.attach("brochure.bin", LARGE, "application/octet-stream")
    get_connection().send_messages(messages)
    with redis.Redis.from_url(redis_url) as server:
        (blob,) = server.scan_iter("*:blob:*")
        assert server.memory_usage(blob) < 2 * len(LARGE)
        rest = sum(server.memory_usage(key) for key in server.scan_iter() if key != blob)
        assert rest < len(LARGE)
        worker = start_worker()
        wait_until(lambda: len(smtp_server.received) == 20, 20, worker.explain)
        wait_until(lambda: fate(messages[-1])["state"] == "sent", 5)
        assert list(server.scan_iter("*:blob*")) == []
    for received in smtp_server.received:
        (part,) = received.parsed.iter_attachments()
        assert (part.get_filename(), part.get_content()) == ("brochure.bin", LARGE)


@pytest.mark.parametrize(("change", "reason"), [("gone", "is gone"), ("damaged", "is damaged")])
def test_an_attachment_that_is_not_as_it_was_fails_its_message(
    change, reason, start_worker, smtp_server, redis_url
):
    """The reason is on record, and the rest of the batch is sent."""
    message, other = letter(), letter()
    message.attach("brochure.bin", LARGE, "application/octet-stream")
    get_connection().send_messages([message, other])
    with redis.Redis.from_url(redis_url) as server:
        (blob,) = server.scan_iter("*:blob:*")
        server.delete(blob) if change == "gone" else server.set(blob, "something else")
    worker = start_worker()
    assert reason in wait_for_state(message, "failed", worker)["reply"]
    wait_for_state(other, "sent", worker)


def test_a_message_that_is_too_large_is_an_error_that_says_so(monkeypatch):
    """Measured as it lies in the queue, attachments included."""
    monkeypatch.setenv("MAILQUEUE_MAX_MESSAGE_SIZE", "100KiB")
    message = letter()
    message.attach("brochure.bin", LARGE, "application/octet-stream")
    with pytest.raises(ValueError, match=r"MAILQUEUE\['MAX_MESSAGE_SIZE'\] is 102400"):
        message.send()
    assert report.find(report.Filter()) == []


def test_any_number_of_messages_passes_through_from_a_generator(redis_url):
    """They are accepted in portions while they are made: five of 100, 125, 156, 195, and so on."""
    accepted_before_last: list[int] = []

    def letters():
        for n in range(1200):
            if n == 1199:
                accepted_before_last.append(report.status()["queues"][0]["totals"]["accepted"])
            yield letter(f"to{n}@example.com")

    assert get_connection().send_messages(letters()) == 1200
    assert accepted_before_last == [976]


def test_an_attachment_that_changes_between_two_messages_is_each_ones_own(
    start_worker, smtp_server
):
    """A generator may use one object again and again: each message has what it held by then."""
    part, buffer = MIMEPart(), bytearray()

    def letters() -> Iterator[EmailMessage]:
        for name in "ABC":
            part.set_content(name.encode() * 50_000, "application", "octet-stream")
            buffer[:] = name.lower().encode() * 50_000
            message = letter(subject=name)
            message.attachments = [part, ("file", buffer, "application/octet-stream")]
            yield message

    assert get_connection().send_messages(letters()) == 3
    worker = start_worker()
    wait_until(lambda: len(smtp_server.received) == 3, 20, worker.explain)
    for received in smtp_server.received:
        parts = [part.get_content() for part in received.parsed.iter_attachments()]
        name = received.parsed["Subject"].encode()
        assert parts == [name * 50_000, name.lower() * 50_000]


def file_of_its_own(message: EmailMessage, number: int) -> None:
    message.attach("file", bytes(range(256)) * 8192, "application/octet-stream")  # 2 MiB


def html_of_its_own(message: EmailMessage, number: int) -> None:
    message.body = f"<p>Hello</p>{number}" * 150_000  # 2 MB


@pytest.mark.parametrize("fill", [file_of_its_own, html_of_its_own])
def test_a_generator_of_large_messages_takes_bounded_memory(fill):
    """Also where the journal stores them once, or compressed: the message objects hold them."""

    def letters() -> Iterator[EmailMessage]:
        for number in range(100):
            message = letter()
            fill(message, number)
            yield message

    tracemalloc.start()
    try:
        assert get_connection().send_messages(letters()) == 100
        assert tracemalloc.get_traced_memory()[1] < 100 * 1024**2
    finally:
        tracemalloc.stop()
