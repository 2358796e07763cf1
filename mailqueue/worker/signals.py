"""What a Celery worker does besides tasks: the timer, the clean end, its own queue."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from typing import Any

from celery import signals

from mailqueue.conf import settings
from mailqueue.conf.lookup import LIFELINE
from mailqueue.delivery.opening import close_connections, mailer_name, shared_breaker
from mailqueue.errors import ImproperlyConfigured, JournalUnavailable
from mailqueue.mail.routing import delivery_backend
from mailqueue.queue.journal import open_journal
from mailqueue.queue.project import complaints, queue_of
from mailqueue.queue.publisher import TASK

from .consumer import queues_taken
from .flag import stopping
from .greenlets import GreenWatchdog
from .pool import check_pool
from .queues import taken
from .steps import EventsSentOnce
from .task import MailTask
from .timer import Timer
from .watchdog import Watchdog

_log = logging.getLogger(__name__)

_timers: list[Timer] = []


@cache
def connect() -> None:
    """Connect mailqueue to Celery's signals, whoever's application the worker runs.

    Without it a worker delivers what tasks name, and nothing else: no retry, nothing scheduled, no
    message whose task was lost. Called again, it changes nothing.
    """
    # Celery sends this one from a signal's handler, and the next such signal may come in the middle
    # of that. For its lock, which the same thread holds then, it would wait for ever.
    signals.worker_shutting_down.lock = threading.RLock()
    for sent, receivers in _RECEIVERS.items():
        for receiver in receivers:
            sent.connect(receiver)


def check_journal(**_: Any) -> None:
    """Refuse to start on a journal that would lose messages."""
    try:
        open_journal().check(fsync=settings.MAILQUEUE.DURABILITY == "fsync")
    except JournalUnavailable as error:
        _log.error("%s; the worker waits for it", error)
    except ImproperlyConfigured as error:
        sys.exit(f"mailqueue: {error}")


def check_backend(**_: Any) -> None:
    """Refuse to start where what delivers doesn't exist, or would only queue mail again."""
    try:
        delivery_backend()
    except ImportError as error:
        sys.exit(f"mailqueue: MAILQUEUE['BACKEND'] = {settings.MAILQUEUE.BACKEND!r}: {error}")
    except ImproperlyConfigured as error:
        sys.exit(f"mailqueue: {error}")
    except Exception as error:  # noqa: BLE001 - a stranger's; mail waits until it is mended
        _log.error("the mailer %s can't be made: %s", mailer_name(), error)


def try_mailer(**_: Any) -> None:
    """Try a mailer at once that our own mistake kept from being used: this start may mend it."""
    with suppress(JournalUnavailable, ImproperlyConfigured):  # check_journal has said so
        shared_breaker().hasten()


def send_events_once(sender: Any, **_: Any) -> None:
    """Keep the worker's main thread from sending the same event for ever."""
    sender.app.steps["consumer"].add(EventsSentOnce)


def remember_command(**_: Any) -> None:
    """Have SIGHUP start the worker anew by the command that started it.

    Celery would run the file of a ``python -m celery``, which ends at its first import.
    """
    options = sys.argv[1:]
    if sys.argv[0].endswith("__main__.py") and sys.orig_argv[-len(options) :] == options:
        sys.argv = sys.orig_argv[1:]


def end_with_parent(**_: Any) -> None:
    """Stop when `mailqueue up`, which started this worker, is gone."""
    lifeline = os.environ.pop(LIFELINE, "")

    def wait() -> None:
        os.read(int(lifeline), 1)
        os.kill(os.getpid(), signal.SIGTERM)

    if lifeline:
        threading.Thread(target=wait, name="mailqueue-lifeline", daemon=True).start()


def consume_own_queue(instance: Any, **_: Any) -> None:
    """Consume mailqueue's queue in any worker that wasn't told by ``-Q`` which ones to take.

    One that was told takes just those, and none of them may be ours.
    """
    queues = instance.app.amqp.queues
    if queues._consume_from is None:  # set by -Q; Celery has no public name for it
        queues.select_add(queue_of(instance.app, settings.MAILQUEUE.QUEUE))
    taken.note(lambda: [*queues.consume_from])


def tell_of_options(instance: Any, **_: Any) -> None:
    """Tell of what in the application keeps mail from being delivered, or has no effect on it."""
    for complaint in complaints(instance.app, TASK):
        _log.error("%s", complaint)
    if not isinstance(instance.app.tasks[TASK], MailTask):
        _log.error("the application has a task of its own named %s: no mail is delivered", TASK)


def spare_mail(instance: Any, **_: Any) -> None:
    """Keep the worker's time limits from mail: a server may take 10 minutes to answer the dot.

    The pool holds them for every task that has none of its own, so they move to the other tasks.
    """
    others = [task for name, task in instance.app.tasks.items() if name != TASK]
    for option, attribute in {"timeout": "time_limit", "soft_timeout": "soft_time_limit"}.items():
        limit = instance.pool.options.pop(option, None)
        for task in others:
            if getattr(task, attribute) is None:
                setattr(task, attribute, limit)


def start_timer(sender: Any, **_: Any) -> None:
    """Start the timer in the worker's main process."""
    stopping.clear()
    is_gevent = type(sender.pool).__module__ == "celery.concurrency.gevent"
    kind = GreenWatchdog if is_gevent else Watchdog
    timer = Timer(
        check_worker=kind(sender).check,
        taken=partial(queues_taken, sender),
        node=str(sender.hostname),
    )
    _timers.append(timer)
    timer.start()


def finish_message_in_hand(**_: Any) -> None:
    """Tell the pool to end after the message in hand; the rest of each batch stays queued."""
    stopping.set()


def stop_timer(**_: Any) -> None:
    """Stop the timer, and close what a pool of threads or greenlets has open."""
    while _timers:
        _timers.pop().stop()
    close_connections()


def say_quit(**_: Any) -> None:
    """Close the connections of a process of the pool."""
    close_connections()


# In the order in which they are called.
_RECEIVERS: Mapping[Any, Sequence[Callable[..., None]]] = {
    signals.worker_init: (
        check_journal,
        check_backend,
        try_mailer,
        send_events_once,
        remember_command,
        end_with_parent,
    ),
    signals.celeryd_after_setup: (check_pool, consume_own_queue, spare_mail, tell_of_options),
    signals.worker_ready: (start_timer,),
    signals.worker_shutting_down: (finish_message_in_hand,),
    signals.worker_shutdown: (stop_timer,),
    signals.worker_process_shutdown: (say_quit,),
}
