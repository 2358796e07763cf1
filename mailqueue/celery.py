"""The Celery application of ``mailqueue worker`` and ``mailqueue up``."""

from __future__ import annotations

from typing import Any

from celery import Celery

from mailqueue.conf import settings
from mailqueue.queue.broker import own_broker
from mailqueue.queue.liveness import liveness_options


def create_app() -> Celery:
    """Make a Celery application that delivers mail, by the settings as they are at first use."""
    app = Celery("mailqueue", include=["mailqueue.tasks"])
    app.add_defaults(_options)
    return app


def _options() -> dict[str, Any]:
    broker = own_broker()
    liveness = liveness_options(broker["broker_url"], settings.MAILQUEUE.BROKER_PATIENCE)
    transport: dict[str, Any] = {}
    for options in (liveness, broker):  # what the broker's URL says wins
        transport |= options.get("broker_transport_options", {})
    return {
        **liveness,
        **broker,
        "broker_transport_options": transport,
        # An error of one channel, such as a queue that is still locked by a connection of ours that
        # died without a word, is none that a worker has to end for: it connects anew.
        "broker_channel_error_retry": True,
        # A worker that starts before its broker waits for it.
        "broker_connection_retry_on_startup": True,
        # For ever: by default Celery gives up after a hundred tries, and no mail would move after a
        # long night of the broker's.
        "broker_connection_max_retries": None,
        # Without -Q, the worker takes mailqueue's queue and no other.
        "task_default_queue": settings.MAILQUEUE.QUEUE,
        # JSON and nothing else: a pickle from the broker would run its author's code here.
        "accept_content": ["json"],
        "task_serializer": "json",
        # The journal holds the results; a second copy in a result backend would only go stale.
        "result_backend": None,
        "task_ignore_result": True,
        # Acknowledged when taken: what a dying worker held is found by the journal, within its
        # lease, while a redelivery would wait for the broker's visibility timeout.
        "task_acks_late": False,
        # A long batch must not keep other batches waiting behind it in the same process.
        "worker_prefetch_multiplier": 1,
    }


app = create_app()
