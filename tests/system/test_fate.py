"""What a program is told when it asks for the fate of its messages."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.fernet import Fernet

import mailqueue
from mailqueue import EmailMessage, Fate, State, fate, fates, get_connection
from mailqueue.errors import JournalUnavailable
from mailqueue.queue.accepted import Accepted
from mailqueue.queue.journal import open_journal
from mailqueue.queue.spool import current_spool
from tests.support import in_django, printed, wait_until
from tests.system.letters import letter, wait_for_state

LOCMEM = "mailqueue.backends.locmem.EmailBackend"
QUEUE = "mailqueue.backends.queue.EmailBackend"


@pytest.mark.usefixtures("producer")
def test_the_fate_of_each_recipient_is_told(start_worker, smtp_server):
    """What the server said to each, how often it was tried, and when it is tried next."""
    smtp_server.replies = {"full@example.com": ["451 4.2.2 full"], "no@example.com": ["550 no"]}
    message = letter(["to@example.com", "full@example.com", "no@example.com"])
    message.send()
    before = fate(message.mailqueue_id)
    assert (before.state, before.attempts, before.history) == (State.QUEUED, 0, ())
    assert [one.state for one in before.recipients.values()] == [State.QUEUED] * 3

    worker = start_worker(MAILQUEUE_RETRY="1h")
    wait_for_state(message, "retrying", worker)
    found = fate(message.mailqueue_id)
    assert {a: (r.state, r.reply[:3]) for a, r in found.recipients.items()} == {
        "to@example.com": (State.SENT, "250"),
        "full@example.com": (State.RETRYING, "451"),
        "no@example.com": (State.FAILED, "550"),
    }
    assert found.attempts == len(found.history) == 1
    assert found.next_attempt is not None
    assert timedelta(minutes=50) < found.next_attempt - datetime.now(UTC) < timedelta(hours=1.2)


@pytest.mark.usefixtures("producer")
def test_a_message_that_waits_for_its_time_says_when(start_worker):
    """And one that has ended, or goes as soon as it can, has no next attempt."""
    later = letter()
    later.send_at = datetime(2200, 1, 1, tzinfo=UTC)
    done = letter()
    assert get_connection().send_messages([later, done]) == 2
    assert fate(done.mailqueue_id).next_attempt is None
    wait_for_state(done, "sent", start_worker())
    found = fate(later.mailqueue_id)
    assert (found.state, found.next_attempt) == (State.SCHEDULED, later.send_at)
    assert fate(done.mailqueue_id).next_attempt is None


@pytest.mark.usefixtures("producer")
def test_many_are_asked_for_at_once():
    """In any queue, in the order in which they are named; what nobody knows is None."""
    messages = [letter() for _ in range(450)]
    messages[3].queue = "invoices"
    get_connection().send_messages(messages)
    ids = ["unknown", *(message.mailqueue_id for message in messages), "../../etc/passwd"]
    found = fates(reversed(ids))
    assert [*found] == ids[::-1]
    assert [id_ for id_ in ids if found[id_] is None] == ["unknown", "../../etc/passwd"]
    assert found[messages[3].mailqueue_id].queue == "invoices"
    assert fate("unknown") is None
    assert fates([]) == {}


@pytest.mark.usefixtures("producer")
def test_replies_are_read_with_the_keys(monkeypatch):
    """What lies sealed in the journal is told in plain text."""
    monkeypatch.setenv("MAILQUEUE_SECRET_KEYS", Fernet.generate_key().decode())
    message = letter()
    message.send()
    assert [*fate(message.mailqueue_id).recipients] == ["to@example.com"]


@pytest.mark.usefixtures("producer")
def test_the_journal_away_is_an_error(monkeypatch, unused_port):
    """Nobody knows then; `None` would say that there is no such message."""
    monkeypatch.setenv("MAILQUEUE_BROKER_URL", f"redis://127.0.0.1:{unused_port}/0")
    with pytest.raises(JournalUnavailable):
        fate("an-id")


@pytest.mark.usefixtures("producer")
def test_what_lies_in_the_spool_is_not_unknown(monkeypatch, redis_url, unused_port):
    """Its fate is told without the journal, and by the journal once that has it."""
    monkeypatch.setenv("MAILQUEUE_ON_OUTAGE", "spool")
    monkeypatch.setenv("MAILQUEUE_SECRET_KEYS", Fernet.generate_key().decode())
    monkeypatch.setenv("MAILQUEUE_BROKER_URL", f"redis://127.0.0.1:{unused_port}/0")
    kept, later = letter(), letter()
    later.send_at = datetime(2200, 1, 1, tzinfo=UTC)
    get_connection().send_messages([kept, later])
    found = fates([kept.mailqueue_id, later.mailqueue_id])
    assert [(one.state, one.is_spooled, one.next_attempt) for one in found.values()] == [
        (State.QUEUED, True, None),
        (State.SCHEDULED, True, later.send_at),
    ]
    assert [*found[kept.mailqueue_id].recipients] == ["to@example.com"]
    with pytest.raises(JournalUnavailable):
        fates([kept.mailqueue_id, "unknown"])

    monkeypatch.setenv("MAILQUEUE_BROKER_URL", redis_url)
    assert fate(kept.mailqueue_id).is_spooled
    assert fate("unknown") is None
    path = current_spool().directory / f"{kept.mailqueue_id}.json"
    content = path.read_text()
    current_spool().replay()
    path.write_text(content)  # a replay that was killed before it had removed the file
    assert not fate(kept.mailqueue_id).is_spooled
    path.write_text("rubbish")
    open_journal().forget_everything()
    assert fate(kept.mailqueue_id) is None


def test_the_number_that_is_returned_knows_the_ids(producer):
    """Of one message, of many, of a generator; it is the number that Django documents."""
    one = letter().send()
    many = get_connection().send_messages([letter(), letter([]), letter()])
    streamed = get_connection().send_messages(letter() for _ in range(3))
    assert (one, many, streamed) == (1, 2, 3)
    assert json.dumps([one, many]) == "[1, 2]"
    ids = [*one.ids, *many.ids, *streamed.ids]
    assert None not in fates(ids).values()
    assert len(set(ids)) == 6
    assert mailqueue.send_mail("s", "b", "a@example.com", ["b@example.com"]).ids
    assert (
        len(mailqueue.send_mass_mail([("s", "b", "a@example.com", ["b@example.com"])] * 2).ids) == 2
    )
    assert Accepted(0).ids == ()


def test_django_hands_the_ids_on(redis_url):
    """`send_mail()` and `send_mass_mail()` of Django's own, with Django's own classes."""
    code = """
from django.core.mail import EmailMessage, send_mail, send_mass_mail
from mailqueue import fates
message = EmailMessage("s", "b", "a@example.com", ["b@example.com"])
ids = [*message.send().ids, *send_mail("s", "b", "a@example.com", ["b@example.com"]).ids]
ids += send_mass_mail([("s", "b", "a@example.com", ["b@example.com"])] * 2).ids
result = [[one.state, [*one.recipients]] for one in fates(ids).values()]
assert ids[0] == message.mailqueue_id
"""
    values = {"EMAIL_BACKEND": QUEUE, "MAILQUEUE": {"BROKER_URL": redis_url}}
    assert in_django(values, code) == [["queued", ["b@example.com"]]] * 4


@pytest.mark.usefixtures("producer")
def test_the_command_prints_the_id(run_cli):
    """For people and for programs."""
    id_ = printed(run_cli("send", "--to", "to@example.com", "--json"))["id"]
    assert fate(id_).state is State.QUEUED
    said, _, another = run_cli("send", "--to", "to@example.com").stdout.strip().rpartition(" ")
    assert said == "queued as"
    assert fate(another).state is State.QUEUED


class Closed(EmailMessage):
    """Takes no attributes that it doesn't know."""

    def __setattr__(self, name, value):
        if name == "mailqueue_id":
            raise AttributeError(name)
        super().__setattr__(name, value)


def test_locmem_gives_ids_and_fates(monkeypatch):
    """A program that keeps ids and asks for fates can be tested without a journal."""
    monkeypatch.setenv("EMAIL_BACKEND", LOCMEM)
    message = letter()
    sent = message.send()
    first = message.mailqueue_id
    assert sent.ids == (first,)
    found = fate(first)
    assert isinstance(found, Fate)
    assert (found.state, [*found.recipients], found.attempts) == (State.SENT, message.to, 1)
    assert mailqueue.outbox[0].mailqueue_id == first
    message.send()
    assert message.mailqueue_id != first
    assert len(fates([first, message.mailqueue_id])) == 2
    assert Closed("s", "b", "a@example.com", ["b@example.com"]).send() == 1


@pytest.mark.usefixtures("producer")
def test_what_the_queue_delivers_to_locmem_keeps_its_id(start_worker, monkeypatch):
    """Who tests with a queue finds in the outbox which message it is."""
    from mailqueue.testing.queue import MailQueue

    monkeypatch.setenv("MAILQUEUE_BACKEND", LOCMEM)
    message = letter()
    message.send()
    MailQueue().deliver()
    wait_until(lambda: fate(message.mailqueue_id).state is State.SENT, 5)
    assert [sent.mailqueue_id for sent in mailqueue.outbox] == [message.mailqueue_id]
