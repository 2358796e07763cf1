"""Messages that the journal could not take, sent again: one mail each, whatever happened before."""

from __future__ import annotations

import copy
import pickle
from typing import Any
from uuid import uuid4

import pytest
from cryptography.fernet import Fernet

from mailqueue import EmailMessage, get_connection
from mailqueue.errors import EnqueueError, EnqueueUnknown, JournalUnavailable
from mailqueue.monitor import report
from mailqueue.queue.journal import open_journal
from tests.line import letters
from tests.outage import ANSWER_LOST, REFUSED, REQUEST_LOST, accepted
from tests.outage import journal as journal

pytestmark = pytest.mark.usefixtures("producer")


def letter(to: str = "to@example.com", body: str = "A letter") -> EmailMessage:
    return EmailMessage("Hello", body, "from@example.com", [to])


def fails(message: EmailMessage, kind: type[EnqueueError] = EnqueueUnknown) -> EnqueueError:
    with pytest.raises(kind) as caught:
        message.send()
    return caught.value


def test_what_was_refused_once_is_an_ordinary_message_afterwards(monkeypatch, unused_port):
    """The same object may be sent again and again: its id is kept for the first success only."""
    (message,) = letters(1)
    with monkeypatch.context() as away:
        away.setenv("MAILQUEUE_JOURNAL_URL", f"redis://127.0.0.1:{unused_port}/0")
        with pytest.raises(JournalUnavailable):
            message.send()
    ids = []
    for _ in range(2):
        assert message.send() == 1
        ids.append(message.mailqueue_id)
    assert ids[0] != ids[1]
    assert open_journal().totals() == {"accepted": 2}


@pytest.mark.parametrize("end", [ANSWER_LOST, REQUEST_LOST, REFUSED])
def test_an_object_for_the_next_recipient_is_the_next_message(journal, end):
    """Its pending id went to the next message, which existed nowhere if the first had arrived."""
    message = letter("first@example.com")
    journal.plan([end])
    fails(message, EnqueueError)
    journal.plan([])
    message.to = ["next@example.com"]
    assert message.send() == 1
    assert accepted()["next@example.com"] == 1
    assert report.show(message.mailqueue_id)["recipients"][0]["address"] == "next@example.com"


@pytest.mark.parametrize("end", [ANSWER_LOST, REQUEST_LOST, REFUSED])
def test_an_unchanged_object_is_one_message_until_it_has_been_sent(journal, end):
    """However often it fails; two calls that succeed are two messages again."""
    message = letter()
    for _ in range(2):
        journal.plan([end])
        fails(message, EnqueueError)
    journal.plan([])
    assert message.send() == 1
    assert accepted() == {"to@example.com": 1}
    assert message.send() == 1
    assert accepted() == {"to@example.com": 2}


def test_what_is_in_doubt_is_not_said_to_be_refused(journal):
    """An earlier call was unknown, and the journal has the message: "not accepted" was a lie."""
    message = letter()
    journal.plan([ANSWER_LOST])
    first = fails(message)
    journal.plan([REFUSED])
    assert fails(message).ids == first.ids
    journal.plan([])
    assert message.send() == 1
    assert (message.mailqueue_id,) == first.ids
    assert accepted() == {"to@example.com": 1}


def test_a_change_takes_back_no_earlier_doubt(journal):
    """Of two contents of one object that are both in doubt, each is known again."""
    message = letter("a@example.com")
    for name in "abab":
        message.to = [f"{name}@example.com"]
        journal.plan([ANSWER_LOST])
        fails(message)
    journal.plan([])
    assert message.send() == 1
    assert accepted() == {"a@example.com": 1, "b@example.com": 1}


@pytest.mark.parametrize(
    ("name", "value"),
    [("send_at", "2100-01-01T00:00:00Z"), ("priority", "high"), ("queue", "other"),
     ("body", "Another"), ("tags", ["a"]), ("extra_headers", {"Message-ID": "<b@example.com>"}),
     ("attachments", [("a.txt", "text", "text/plain")])],
)  # fmt: skip
def test_whatever_was_changed_makes_another_message(journal, name, value):
    """What it says, how it is to be sent, and what goes along with it."""
    message = letter()
    journal.plan([ANSWER_LOST])
    fails(message)
    setattr(message, name, value)
    assert message.send() == 1
    assert accepted() == {"to@example.com": 2}


def test_another_queue_of_the_backend_makes_another_message(journal):
    """The other queue's journal knows nothing of it."""
    message = letter()
    journal.plan([ANSWER_LOST])
    fails(message)
    assert get_connection(queue="other").send_messages([message]) == 1
    assert accepted() == {"to@example.com": 2}


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))]
)
def test_a_copy_is_a_message_of_its_own(journal, again):
    """The original and its copy that are both sent are two messages."""
    message = letter()
    journal.plan([ANSWER_LOST])
    fails(message)
    copied = again(message)
    assert [copied.send(), message.send()] == [1, 1]
    assert copied.mailqueue_id != message.mailqueue_id
    assert accepted() == {"to@example.com": 2}


class Rendered(EmailMessage):
    """Builds its message by itself, with boundaries and a signature that are new each time."""

    def message(self, **options: Any) -> Any:
        built = super().message(**options)
        built["DKIM-Signature"] = f"v=1; t={id(built)}; b={id(self)}"
        return built


class Slotted:
    """A message that takes no other attributes, and to which no weak reference can be made."""

    __slots__ = ("inner",)
    from_email, subject, extra_headers = "from@example.com", "Hello", None
    attachments, encoding = (), None

    def __init__(self, inner: EmailMessage) -> None:
        self.inner = inner

    def recipients(self) -> list[str]:
        return self.inner.recipients()

    def message(self) -> Any:
        return self.inner.message()


class Frozen(EmailMessage):
    """A message that refuses attributes once it is made."""

    def __setattr__(self, name: str, value: object) -> None:
        if hasattr(self, "connection"):
            raise TypeError("frozen")
        super().__setattr__(name, value)


@pytest.mark.parametrize("kind", [Rendered, Slotted, Frozen, "large", "sealed"])
def test_an_object_of_any_kind_is_known_again(journal, monkeypatch, kind):
    """Rendered anew, compressed, sealed anew, or one that takes no attributes of ours."""
    message: Any = letter(body="A letter that is long. " * 500 if kind == "large" else "Short")
    if kind == "sealed":
        monkeypatch.setenv("MAILQUEUE_SECRET_KEYS", Fernet.generate_key().decode())
    if isinstance(kind, type):
        file = ("a.bin", b"\x00\xff", "application/octet-stream")
        options = {"to": ["to@example.com"], "attachments": [file]}
        message = Slotted(EmailMessage(**options)) if kind is Slotted else kind(**options)
    for _ in range(2):
        journal.plan([ANSWER_LOST])
        with pytest.raises(EnqueueUnknown):
            get_connection().send_messages([message])
    assert get_connection().send_messages([message]) == 1
    assert accepted() == {"to@example.com": 1}
    assert get_connection().send_messages([message]) == 1
    assert accepted() == {"to@example.com": 2}


class Tagged(EmailMessage):
    """Renders its message with something new each time."""

    def message(self, **options: Any) -> Any:
        built = super().message(**options)
        built["X-Entity-Ref-ID"] = uuid4().hex
        return built


@pytest.mark.parametrize(
    ("first", "then", "messages"),
    [({}, {}, 1), ({}, {"body": "Two"}, 2), ({"tags": ["a"]}, {"tags": ["b"]}, 2),
     ({"context": object()}, {}, 2), ({"_context": 1}, {"_context": 2}, 2)],
)  # fmt: skip
def test_mail_that_is_rendered_with_something_new_is_known_by_what_was_set(
    journal, monkeypatch, first, then, messages
):
    """It is the same one while nothing is set on it; what nobody can compare may have changed."""
    monkeypatch.setenv("MAILQUEUE_LEAVE_BEHIND", '{"*": ["context"]}')
    message = Tagged("Hello", "One", "from@example.com", ["to@example.com"])
    vars(message).update(first)
    journal.plan([ANSWER_LOST])
    fails(message)
    vars(message).update(then)
    assert message.send() == 1
    assert accepted() == {"to@example.com": messages}


def test_rendered_mail_that_says_something_else_is_another(journal):
    """Also where only what it builds tells so."""
    message = Rendered("Hello", "One", "from@example.com", ["to@example.com"])
    journal.plan([ANSWER_LOST])
    fails(message)
    message.body = "Two"
    assert message.send() == 1
    assert accepted() == {"to@example.com": 2}
