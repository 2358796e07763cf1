"""Lists that are checked as a whole, and sent again after an outage in their middle."""

from __future__ import annotations

import tracemalloc
from collections import Counter, deque
from collections.abc import Iterator
from typing import Any

import pytest

from mailqueue import EmailMessage, get_connection
from mailqueue.errors import EnqueueError, EnqueueUnknown
from mailqueue.queue import payload, portion
from mailqueue.queue.journal import Journal
from mailqueue.queue.spool import current_spool
from tests.outage import ANSWER_LOST, FINE, REFUSED, REQUEST_LOST, accepted
from tests.outage import journal as journal

pytestmark = pytest.mark.usefixtures("producer")
EACH_ONCE = {"a": 1, "b": 1, "c": 1, "d": 1, "e": 1, "f": 1}


@pytest.fixture(autouse=True)
def small_portions(monkeypatch) -> None:
    """Two messages are accepted together, so that short lists have several portions."""
    monkeypatch.setattr(portion, "_AT_FIRST", 2)


def letter(to: str, **attributes: object) -> EmailMessage:
    message = EmailMessage("Hello", f"To {to}", "from@example.com", [to])
    vars(message).update(attributes)
    return message


def letters(names: str = "abcdef") -> list[EmailMessage]:
    return [letter(name) for name in names]


def send(messages: Any) -> int:
    return get_connection().send_messages(messages)


def fails(messages: Any, kind: type[EnqueueError] = EnqueueError) -> EnqueueError:
    with pytest.raises(kind) as caught:
        send(messages)
    return caught.value


@pytest.mark.parametrize("end", [ANSWER_LOST, REQUEST_LOST, REFUSED])
@pytest.mark.parametrize("before", [0, 1, 2])
def test_a_list_that_is_sent_again_makes_each_message_once(journal, end, before):
    """The portions that were accepted before the outage were accepted once more."""
    messages = letters()
    journal.plan([FINE] * before + [end])
    error = fails(messages)
    assert error.accepted == tuple(message.mailqueue_id for message in messages[: 2 * before])
    assert error.count == 2 * before
    journal.plan([])
    assert send(messages) == 6
    assert accepted() == EACH_ONCE
    assert len({message.mailqueue_id for message in messages}) == 6
    assert send(messages) == 6  # a new call, and new messages
    assert accepted() == dict.fromkeys("abcdef", 2)


def test_a_list_may_fail_again_and_again(journal):
    """At whatever place: what was accepted once is passed over, and counted."""
    messages = letters()
    for ends, count in [([FINE, REFUSED], 2), ([ANSWER_LOST], 2), ([FINE, REQUEST_LOST], 4)]:
        journal.plan(ends)
        error = fails(messages)
        assert (error.count, len(error.accepted)) == (count, count)
    journal.plan([])
    assert send(messages) == 6
    assert accepted() == EACH_ONCE


def test_the_same_objects_one_by_one_are_each_sent_once(journal):
    """What the list had accepted is known for each of its objects."""
    messages = letters()
    journal.plan([FINE, ANSWER_LOST])
    fails(messages)
    assert [message.send() for message in messages] == [1] * 6
    assert accepted() == EACH_ONCE


def test_what_was_accepted_is_forgotten_when_the_rest_has_been_sent(journal):
    """An object that was accepted, and not sent again with the rest, is a new message later."""
    messages = letters()
    journal.plan([FINE, ANSWER_LOST])
    fails(messages)
    assert send(messages[2:]) == 4
    assert send(messages) == 6
    assert accepted() == dict.fromkeys("abcdef", 2)


def test_an_accepted_object_that_was_changed_is_another_message(journal):
    """One object for each place of a page that is sent to one after the other, say."""
    messages = letters()
    journal.plan([FINE, ANSWER_LOST])
    fails(messages)
    for message in messages:
        message.to = [message.to[0].upper()]
    assert send(messages) == 6
    assert {name: accepted()[name] for name in "ABCDEF"} == dict.fromkeys("ABCDEF", 1)


@pytest.mark.parametrize("ends", [[FINE, ANSWER_LOST], [ANSWER_LOST], [FINE, REFUSED], [REFUSED]])
def test_an_object_that_stands_in_a_list_twice_is_two_messages(journal, ends):
    """As without an outage."""
    (one,), (other,) = letters("a"), letters("b")
    messages = [one, one, other, one]
    journal.plan(ends)
    fails(messages)
    journal.plan([])
    assert send(messages) == 4
    assert accepted() == {"a": 3, "b": 1}


def test_several_queues_are_told_apart(journal):
    """Where one queue's messages were accepted and another's were not, the order is the list's."""
    messages = [letter("a", queue="x"), letter("b", queue="y")]
    send([letter("w", queue="x"), letter("w", queue="y")])
    journal.plan([FINE, ANSWER_LOST])
    error = fails([messages[1], messages[0]], EnqueueUnknown)
    assert error.accepted == (messages[1].mailqueue_id,)
    assert send(messages) == 2
    assert accepted() == {"a": 1, "b": 1, "w": 2}


def test_failing_silently_returns_how_many_and_the_rest_can_follow(journal, caplog):
    """The objects are known again as after an exception."""
    messages = letters()
    journal.plan([FINE, ANSWER_LOST])
    assert get_connection(fail_silently=True).send_messages(messages) == 2
    assert "4 messages were not queued" in caplog.text
    assert send(messages) == 6
    assert accepted() == EACH_ONCE


@pytest.mark.parametrize("kind", [list, tuple, deque])
@pytest.mark.parametrize("bad", ["two words@example.com", "a@b@c", "line\nend@example.com"])
@pytest.mark.parametrize("fail_silently", [False, True])
def test_a_list_is_checked_before_anything_of_it_is_accepted(kind, bad, fail_silently):
    """An address that isn't one, in the last place, was found after the others were accepted."""
    messages = kind([*letters(), letter(bad)])
    with pytest.raises(ValueError, match=r"[Ii]nvalid|newline|linefeed"):
        get_connection(fail_silently=fail_silently).send_messages(messages)
    assert accepted() == {}


def test_a_list_that_is_checked_and_not_kept_is_sent_as_well(journal, monkeypatch):
    """Beyond what is kept in memory, messages are serialized once more when their turn comes."""
    monkeypatch.setattr(portion, "_KEPT_AT_MOST", 0)
    messages = letters()
    with pytest.raises(ValueError, match="Invalid"):
        send([*messages, letter("a b@c")])
    assert accepted() == {}
    journal.plan([FINE, FINE, ANSWER_LOST])
    assert fails(messages).count == 4
    assert send(messages) == 6
    assert accepted() == EACH_ONCE


def test_a_message_that_changes_after_the_check_leaves_the_others_known(journal, monkeypatch):
    """It raises in its turn, and what was accepted before it is passed over the next time."""
    monkeypatch.setattr(portion, "_KEPT_AT_MOST", 0)
    messages = letters()
    serialize = payload.serialize

    def change_when_all_are_checked(message: EmailMessage, *arguments: Any) -> Any:
        seen[message.to[0]] += 1
        if message is messages[4] and seen["e"] == 2:
            messages[5].to = ["f f"]
        return serialize(message, *arguments)

    seen: Counter[str] = Counter()
    monkeypatch.setattr(payload, "serialize", change_when_all_are_checked)
    with pytest.raises(ValueError, match="Invalid") as caught:
        send(messages)
    assert caught.value.__notes__ == ["mailqueue had accepted 4 messages of the call before"]
    messages[5].to = ["f"]
    assert send(messages) == 6
    assert accepted() == EACH_ONCE


def test_of_a_generator_the_error_says_what_was_accepted(journal):
    """It makes new objects, so that these are what the caller has."""
    journal.plan([FINE, FINE, REFUSED])
    error = fails(iter(letters()))
    assert (error.count, len(error.accepted)) == (4, 4)
    journal.plan([])
    assert send(iter(letters()[error.count :])) == 2
    assert accepted() == EACH_ONCE


def test_a_generator_that_uses_one_object_again_and_again_can_be_sent_again(journal):
    """Each message is known by what the object said when it was its turn."""

    def made() -> Iterator[EmailMessage]:
        for name in "abcdef":
            message.to = [name]
            yield message

    message = letter("a")
    journal.plan([ANSWER_LOST])
    fails(made())
    assert send(made()) == 6
    assert accepted() == EACH_ONCE


def test_what_was_sent_directly_is_not_sent_again(journal, monkeypatch, smtp_server):
    """An error of the mail server in the midst leaves those before it sent, and known."""
    monkeypatch.setenv("MAILQUEUE_ON_OUTAGE", "send")
    smtp_server.replies = {"d@example.com": ["550 no such user"]}
    messages = [letter(f"{name}@example.com") for name in "abcd"]
    journal.plan([FINE, REFUSED])
    with pytest.raises(OSError, match="no such user"):
        send(messages)
    journal.plan([])
    assert send(messages) == 4
    assert [one.recipients for one in smtp_server.received] == [["c@example.com"]]
    assert accepted() == {f"{name}@example.com": 1 for name in "abd"}


def test_what_is_in_the_spool_is_an_accepted_message(journal, monkeypatch):
    """A call that ends in the spool has succeeded, and the next one is a new message."""
    monkeypatch.setenv("MAILQUEUE_ON_OUTAGE", "spool")
    messages = letters("abc")
    journal.plan([FINE, ANSWER_LOST])
    assert send(messages) == 3
    assert current_spool().waiting().messages == 1
    journal.plan([])
    assert current_spool().replay().accepted == 1
    assert accepted() == {"a": 1, "b": 1, "c": 1}


def test_an_interrupt_leaves_no_doubt_behind_that_nobody_knows(journal, monkeypatch):
    """Ctrl-C while the journal answers: the same objects again make one message each."""

    def interrupted(*arguments: Any, **options: Any) -> Any:
        accept(*arguments, **options)
        raise KeyboardInterrupt

    messages = letters("ab")
    with monkeypatch.context() as patch:
        accept = Journal.accept
        patch.setattr(Journal, "accept", interrupted)
        with pytest.raises(KeyboardInterrupt):
            send(messages)
    assert send(messages) == 2
    assert accepted() == {"a": 1, "b": 1}


def test_a_list_of_large_messages_takes_bounded_memory(monkeypatch):
    """Checked as a whole, it is not held as a whole once more."""
    monkeypatch.setattr(portion, "_AT_FIRST", 100)
    messages = letters("abcdef" * 20)
    for number, message in enumerate(messages):
        message.attach("file", bytes([number]) * 1024**2, "application/octet-stream")
    tracemalloc.start()
    try:
        assert send(messages) == 120
        assert tracemalloc.get_traced_memory()[1] < 120 * 1024**2
    finally:
        tracemalloc.stop()
