"""`asend()`: the event loop goes on while a message is queued."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar
from pathlib import Path

import pytest

from mailqueue import EmailMessage, asend, fate, fates
from mailqueue.conf import settings
from mailqueue.errors import EnqueueError
from tests.servers import Valkey
from tests.support import in_django
from tests.system.letters import letter

pytestmark = pytest.mark.usefixtures("producer")
QUEUE = "mailqueue.backends.queue.EmailBackend"


def test_a_message_and_a_list():
    """It returns what `send()` returns, and the messages have their ids."""

    async def program():
        message, others = letter(), [letter(), letter([]), letter()]
        return await asend(message), message, await asend(others), others

    one, message, many, others = asyncio.run(program())
    assert (one, many) == (1, 2)
    assert one.ids == (message.mailqueue_id,)
    assert many.ids == (others[0].mailqueue_id, others[2].mailqueue_id)
    assert None not in fates([*one.ids, *many.ids]).values()


def test_a_generator_runs_in_the_thread_too():
    """And an asynchronous one is refused: nothing would wait for it there."""

    async def stream():
        yield letter()

    async def program():
        with pytest.raises(TypeError, match="no asynchronous generator"):
            await asend(stream())
        return await asend(letter() for _ in range(3))

    assert asyncio.run(program()) == 3


def test_many_at_once():
    """As many as a server's views may send: each is accepted."""

    async def program():
        return await asyncio.gather(*(asend(letter()) for _ in range(200)))

    sent = asyncio.run(program())
    assert len(set(fates([one.ids[0] for one in sent]))) == 200


@pytest.fixture
def stopped_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A journal that takes connections and doesn't answer, until it is told to."""
    with Valkey(tmp_path / "valkey") as server:
        monkeypatch.setenv("MAILQUEUE_BROKER_URL", server.url)
        letter().send()
        server.suspend()
        yield server


def test_the_loop_goes_on_while_the_journal_is_silent(stopped_journal, monkeypatch):
    """A call that waits for its time-out holds up nobody; its error is that of `send()`."""
    monkeypatch.setenv("MAILQUEUE_ENQUEUE_TIMEOUT", "0.5s")

    async def program():
        sending = asyncio.create_task(asend(letter()))
        turns = 0
        while not sending.done():
            await asyncio.sleep(0)
            turns += 1
        with pytest.raises(EnqueueError):
            await sending
        return turns

    # Had the loop waited itself, it would have been one turn or two.
    assert asyncio.run(program()) > 20


class Telling(EmailMessage):
    """Tells when somebody has begun to send it."""

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self._begun = threading.Event()

    def recipients(self):
        self._begun.set()
        return super().recipients()


def test_a_cancelled_call_ends_in_its_thread(stopped_journal):
    """The message may be accepted all the same, and then it has its id."""
    message = Telling("s", "b", "from@example.com", ["to@example.com"])

    async def program():
        sending = asyncio.create_task(asend(message))
        await asyncio.to_thread(message._begun.wait)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert not hasattr(message, "mailqueue_id")
        stopped_journal.resume()

    asyncio.run(program())  # which waits for its threads
    assert fate(message.mailqueue_id).state == "queued"


NAME: ContextVar[str] = ContextVar("name", default="nobody")


class Named(EmailMessage):
    """Says what the caller's context says."""

    def recipients(self):
        return [f"{NAME.get()}@example.com"]


def test_the_context_is_the_callers():
    """Context variables and overridden settings, translations among them."""

    async def program():
        NAME.set("ann")
        with settings.overridden(MAILQUEUE={"QUEUE": "notices"}):
            return await asend(Named("s", "b", "from@example.com"))

    found = fate(asyncio.run(program()).ids[0])
    assert ([*found.recipients], found.queue) == (["ann@example.com"], "notices")


def test_djangos_messages_from_an_async_view(redis_url):
    """With Django's own classes and functions."""
    code = """
import asyncio
from django.core.mail import EmailMessage
from mailqueue import asend, fate
message = EmailMessage("s", "b", "a@example.com", ["b@example.com"])
result = [asyncio.run(asend(message)), asyncio.run(asend([message, message]))]
assert fate(message.mailqueue_id)
"""
    values = {"EMAIL_BACKEND": QUEUE, "MAILQUEUE": {"BROKER_URL": redis_url}}
    assert in_django(values, code) == [1, 2]


def test_arguments_are_those_of_send(monkeypatch, unused_port):
    """`fail_silently` logs, `using` names a mailer, and both together are refused."""
    monkeypatch.setenv("MAILQUEUE_BROKER_URL", f"redis://127.0.0.1:{unused_port}/0")
    assert asyncio.run(asend(letter(), fail_silently=True)) == 0
    assert asyncio.run(asend([letter()], fail_silently=True)) == 0
    for messages in (letter(), [letter()]):
        with pytest.raises(TypeError, match="'fail_silently' is not compatible with 'using'"):
            asyncio.run(asend(messages, fail_silently=True, using="default"))
