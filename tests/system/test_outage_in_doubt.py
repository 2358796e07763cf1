"""A `send()` whose end is unknown, or that is kept for later: no second message comes of it."""

from __future__ import annotations

import json
import smtplib
from collections.abc import Iterator

import pytest

from mailqueue import EmailMessage, get_connection
from mailqueue.errors import EnqueueUnknown, ImproperlyConfigured
from mailqueue.queue import producer as producing
from mailqueue.queue.journal import open_journal
from mailqueue.queue.spool import current_spool
from mailqueue.state import State
from tests.contracts.delivering import letter
from tests.servers import Valkey
from tests.support import wait_until

pytestmark = pytest.mark.usefixtures("producer")


@pytest.fixture
def away(unused_port: int) -> str:
    """Where no journal is."""
    return f"redis://127.0.0.1:{unused_port}/0"


@pytest.fixture
def disk(tmp_path, monkeypatch) -> Iterator[Valkey]:
    """A journal whose disk is waited for."""
    monkeypatch.setenv("MAILQUEUE_DURABILITY", "fsync")
    monkeypatch.setenv("MAILQUEUE_ENQUEUE_TIMEOUT", "3s")
    with Valkey(tmp_path / "valkey", appendonly="yes") as server:
        monkeypatch.setenv("MAILQUEUE_BROKER_URL", server.url)
        letter().send()
        yield server


def configure(server: Valkey, **values: str) -> None:
    with server.client() as client:
        for name, value in values.items():
            client.config_set(name, value)


def is_rewriting(server: Valkey) -> bool:
    """Whether it writes its append-only file anew, as it does when that is switched on."""
    with server.client() as client:
        found = client.info("persistence")
    return bool(found["aof_rewrite_in_progress"] or found["aof_rewrite_scheduled"])


def ids() -> list[str]:
    """The messages that the journal has."""
    return sorted(id_ for state in State for id_ in open_journal().scan(state))


def test_a_disk_that_takes_too_long_leaves_the_message_unknown(disk):
    """A sync that isn't done in time is unknown, and the same object again makes one message."""
    before = ids()
    configure(disk, appendfsync="no")  # then nothing is ever said to be synced
    message = letter()
    with pytest.raises(EnqueueUnknown, match="not synced in time") as caught:
        message.send()
    assert len(ids()) == len(before) + 1
    assert {*caught.value.ids} == {*ids()} - {*before}
    configure(disk, appendfsync="always")
    assert message.send() == 1
    assert (message.mailqueue_id,) == caught.value.ids
    assert len(ids()) == len(before) + 1


def test_a_server_that_never_syncs_is_refused(disk):
    """A server with `appendfsync no` can't give DURABILITY = "fsync", and nothing is accepted."""
    configure(disk, appendfsync="no")
    before = ids()
    open_journal()._checked = False  # as in a new process
    with pytest.raises(ImproperlyConfigured, match="appendfsync everysec"):
        letter().send()
    assert ids() == before
    assert not open_journal().can_fsync()
    configure(disk, appendfsync="everysec")
    assert open_journal().can_fsync()


def test_a_disk_that_fails_leaves_the_message_to_the_spool(disk, monkeypatch):
    """What may have been accepted is spooled, too, and the replay makes no second message."""
    monkeypatch.setenv("MAILQUEUE_ON_OUTAGE", "spool")
    before = ids()
    configure(disk, appendonly="no")
    message = letter()
    assert message.send() == 1
    assert current_spool().waiting().messages == 1
    assert current_spool().replay().accepted == 0  # until it is known to be on the disk
    assert current_spool().waiting().messages == 1
    configure(disk, appendonly="yes")
    wait_until(lambda: not is_rewriting(disk), 20)  # a server that has just begun can't exit
    assert current_spool().replay().accepted == 1
    assert {*ids()} - {*before} == {message.mailqueue_id}
    assert current_spool().waiting().messages == 0


def test_what_is_in_doubt_is_never_sent_at_once(disk, monkeypatch, away, smtp_server):
    """A message that may have been accepted stays in doubt, however often it is refused since."""
    monkeypatch.setenv("MAILQUEUE_ON_OUTAGE", "send")
    before = ids()
    configure(disk, appendonly="no")
    message = letter()
    with pytest.raises(EnqueueUnknown):
        message.send()
    monkeypatch.setenv("MAILQUEUE_BROKER_URL", away)
    for _ in range(3):
        with pytest.raises(EnqueueUnknown, match="an earlier send"):
            message.send()
    assert letter().send() == 1  # another one isn't in doubt
    assert len(smtp_server.received) == 1
    monkeypatch.setenv("MAILQUEUE_BROKER_URL", disk.url)
    monkeypatch.setenv("MAILQUEUE_DURABILITY", "default")
    assert message.send() == 1
    assert {*ids()} - {*before} == {message.mailqueue_id}
    assert len(smtp_server.received) == 1


def test_what_is_sent_at_once_has_no_record(monkeypatch, away, smtp_server):
    """A message that is delivered at once has no id to be asked for."""
    monkeypatch.setenv("MAILQUEUE_ON_OUTAGE", "send")
    monkeypatch.setenv("MAILQUEUE_BROKER_URL", away)
    message = letter()
    assert message.send() == 1
    assert not hasattr(message, "mailqueue_id")
    assert [received.recipients for received in smtp_server.received] == [message.to]


def test_an_error_of_the_mail_server_leaves_those_before_it_sent(monkeypatch, away, smtp_server):
    """What the delivery backend raises is raised; of the same call, what came before is sent."""
    monkeypatch.setenv("MAILQUEUE_ON_OUTAGE", "send")
    monkeypatch.setenv("MAILQUEUE_BROKER_URL", away)
    smtp_server.replies = {"gone@example.com": ["550 no such user"]}
    messages = [letter(f"{name}@example.com") for name in ("first", "gone", "last")]
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        get_connection().send_messages(messages)
    assert [received.recipients for received in smtp_server.received] == [["first@example.com"]]


def spooled(monkeypatch: pytest.MonkeyPatch, away: str, *messages: EmailMessage) -> None:
    """Send them while the journal is away, which is back afterwards."""
    with monkeypatch.context() as meanwhile:
        meanwhile.setenv("MAILQUEUE_ON_OUTAGE", "spool")
        meanwhile.setenv("MAILQUEUE_BROKER_URL", away)
        assert get_connection().send_messages(messages) == len(messages)


def test_a_key_that_the_journal_knows_makes_no_second_message(monkeypatch, away):
    """A spooled message is dropped at the replay where another one stands for its key."""
    late, early = letter(), letter()
    late.idempotency_key = early.idempotency_key = "order 4711"
    spooled(monkeypatch, away, late)
    early.send()
    assert current_spool().replay().accepted == 1
    assert ids() == [early.mailqueue_id]
    assert current_spool().waiting().messages == 0


def test_a_spooled_attachment_that_is_damaged_is_put_aside(monkeypatch, away):
    """Of a file with a damaged attachment nothing is accepted; the others go on."""
    messages = [letter(f"to{n}@example.com") for n in range(3)]
    for number, message in enumerate(messages):
        message.attach("large.bin", bytes([number]) * 100_000, "application/octet-stream")
    spooled(monkeypatch, away, *messages)
    directory = current_spool().directory
    bad = directory / f"{messages[1].mailqueue_id}.json"
    content = json.loads(bad.read_text())
    (name,) = content["entry"]["blobs"]
    content["entry"]["blobs"][name] = "Z" + content["entry"]["blobs"][name][1:]
    bad.write_text(json.dumps(content))
    found = current_spool().replay()
    assert (found.accepted, found.damaged) == (2, [str(directory / "damaged" / bad.name)])
    assert json.loads((directory / "damaged" / bad.name).read_text()) == content
    assert ids() == sorted([messages[0].mailqueue_id, messages[2].mailqueue_id])
    assert open_journal().blob(name) is None


class Clock:
    """The time of the producer, which passes when the test says so."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


def test_a_journal_that_was_away_is_asked_again_after_five_seconds(monkeypatch, away, redis_url):
    """A process leaves a journal that was away alone for five seconds, and no longer."""
    clock = Clock()
    monkeypatch.setattr(producing, "time", clock)
    monkeypatch.setattr(producing, "_left_alone_until", {})
    monkeypatch.setattr(producing, "journal_url", lambda: "of the journal")
    monkeypatch.setenv("MAILQUEUE_ON_OUTAGE", "spool")
    monkeypatch.setenv("MAILQUEUE_BROKER_URL", away)
    letter().send()
    monkeypatch.setenv("MAILQUEUE_BROKER_URL", redis_url)  # it is back
    clock.now += 4.9
    letter().send()
    assert (current_spool().waiting().messages, ids()) == (2, [])
    clock.now += 0.2
    message = letter()
    message.send()
    assert (current_spool().waiting().messages, ids()) == (2, [message.mailqueue_id])
