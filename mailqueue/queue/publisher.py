"""Publish tasks that name messages: best effort, since the journal is what keeps them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from celery import Celery

from mailqueue.conf import settings
from mailqueue.errors import MailqueueError
from mailqueue.events import report

from .broker import TROUBLE, broker_name, broker_of, producer_app
from .journal import Due
from .options import Priority
from .payload.codec import is_packed
from .project import Router

TASK = "mailqueue.deliver"
# In AMQP the highest number goes first (where the queue has `x-max-priority`), with Redis the
# lowest, of those that kombu has a list for: 0, 3, 6, 9.
_AMQP_PRIORITIES = {Priority.HIGH: 9, Priority.NORMAL: 5, Priority.LOW: 1}
_REDIS_PRIORITIES = {Priority.HIGH: 0, Priority.NORMAL: 3, Priority.LOW: 6}
_WORTH_COMPRESSING = 4096  # characters
# What is due at once, such as what a slow task has left, goes to so many tasks, that no worker is
# without one; but what a task costs is shared by so many messages.
_TASKS_FOR_DUE, _WORTH_A_TASK = 16, 10
_log = logging.getLogger(__name__)


class _NoResult:
    """What Celery makes of the id of a task whose result nobody asks for."""

    def __init__(self, _task: str) -> None:
        self.ignored = True


def publish(
    queue: str,
    messages: Sequence[tuple[str, str]],
    priority: Priority = Priority.NORMAL,
    at_most: int | None = None,
) -> bool:
    """Publish tasks for messages, each an id and its payload ('' to leave it in the journal).

    A task names up to ``BATCH_SIZE``, or ``at_most`` so many where that is less. For no messages it
    is one task, which takes what joined others.
    False: the broker did not take them all. Then nothing is lost: a worker's timer finds what no
    task was published for. It takes no longer than about half of ``ENQUEUE_TIMEOUT``, and raises
    nothing of its own: the messages are accepted by now, and an error would make the caller send
    them again. What comes from outside (a time limit, a signal) is let through.
    After a failure the broker is left alone for some seconds, so that not every ``send()`` has to
    wait for it.
    """
    try:
        # Half: the journal may have taken its time before.
        broker = broker_of(producer_app(), settings.MAILQUEUE.ENQUEUE_TIMEOUT / 2, os.getpid())
        if not broker.is_there:
            return False
        with broker.producer() as producer:
            for batch in _batches(messages, at_most):
                _publish_batch(broker.app, producer, queue, batch, priority)
        return True
    except TROUBLE as error:
        report(_log, "no task was published, a worker's timer will do it: %s: %s", _broker(), error)
        return False


def _broker() -> str:
    """The broker's name, also where the settings can't say it: nothing may be raised any more."""
    try:
        return broker_name()
    except MailqueueError:
        return "the broker"


def _publish_batch(
    app: Celery,
    producer: Any,
    queue: str,
    batch: Sequence[tuple[str, str]],
    priority: Priority,
) -> None:
    ids = [id_ for id_, _ in batch]
    messages = [_name(*message) for message in batch]
    extent = f", from: {ids[0]}, to: {ids[-1]}" if ids else ""
    amqp = producer.connection.transport.driver_type == "amqp"
    app.send_task(
        TASK,
        kwargs={"queue": queue, "messages": messages},
        queue=queue,
        router=Router(app),
        producer=producer,
        # JSON, whatever the project's own tasks travel as.
        serializer="json",
        compression=_compression(messages),
        priority=(_AMQP_PRIORITIES if amqp else _REDIS_PRIORITIES)[priority],
        ignore_result=True,
        # No result backend of the project's is opened for it, and none of its tasks waits for it.
        result_cls=_NoResult,
        add_to_parent=False,
        retry=False,
        # The project's limits for its own tasks would travel, and hold, where ours is registered.
        time_limit=None,
        soft_time_limit=None,
        # What Celery's events, Flower and logs show of the task: never a message's content.
        argsrepr="()",
        kwargsrepr=f"{{queue: {queue}, messages: {len(ids)}{extent}}}",
    )


def _compression(messages: Sequence[Mapping[str, str]]) -> str | None:
    """How to compress a task: not at all where its payloads are small, or compressed themselves.

    A batch's payloads resemble each other, and kombu writes what it sends to Redis in base64.
    """
    texts = [message["payload"] for message in messages if "payload" in message]
    plain = sum(len(text) for text in texts if not is_packed(text))
    return "zlib" if plain > _WORTH_COMPRESSING else None


def _name(id_: str, payload: str) -> dict[str, str]:
    limit = settings.MAILQUEUE.INLINE_LIMIT
    inline = payload and limit and len(payload.encode()) <= limit
    return {"id": id_, "payload": payload} if inline else {"id": id_}


def _batches(
    messages: Sequence[tuple[str, str]], at_most: int | None
) -> Iterator[Sequence[tuple[str, str]]]:
    size = settings.MAILQUEUE.BATCH_SIZE
    if at_most is not None:
        size = min(size, at_most)
    return (messages[start : start + size] for start in range(0, max(len(messages), 1), size))


def _share(count: int) -> int:
    """How many of so many messages that are due a task gets."""
    return max(_WORTH_A_TASK, -(-count // _TASKS_FOR_DUE))


def publish_due(queue: str, due: Iterable[Due]) -> list[str]:
    """Publish tasks for messages whose payload stays in the journal, one for each suspect.

    Returns the ids of those for which the broker took none.
    """
    tasks: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for message in due:
        alone = message.id if message.is_suspect else ""
        tasks.setdefault((message.priority, alone), []).append((message.id, ""))
    return [
        id_
        for (priority, _), messages in tasks.items()
        if not publish(queue, messages, Priority(priority), _share(len(messages)))
        for id_, _ in messages
    ]
