"""What one would write with Celery alone, as carefully as its documentation says."""

from __future__ import annotations

import os
import smtplib
from email.message import EmailMessage

from celery import Celery

# Late acknowledgement, back to the queue when the worker dies, and redelivery within seconds.
OPTIONS = {
    "broker_url": os.environ["BROKER_URL"],
    "broker_transport_options": {"visibility_timeout": 10},
    "broker_connection_retry_on_startup": True,
    "result_backend": None,
    "task_ignore_result": True,
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    "worker_prefetch_multiplier": 1,
}
TEXT = "All the news that fits into a line of eighty characters, more or less.\n" * 14

app = Celery("plain")
app.conf.update(OPTIONS)


@app.task
def send(message_id: str) -> None:
    """Send one message over a connection of its own, like Django's SMTP backend."""
    message = EmailMessage()
    message["Subject"], message["Message-ID"] = "News", f"<{message_id}>"
    message["From"], message["To"] = "a@example.com", "b@example.com"
    message.set_content(TEXT)
    with smtplib.SMTP("127.0.0.1", int(os.environ["EMAIL_PORT"])) as server:
        server.send_message(message)
