"""The Django project of a peer, with settings as its documentation advises for many messages.

`PEER` names it; where its database, its broker and the mail server are stands in the environment
too. django-celery-email's worker is `celery -A benchmarks.project worker`.
"""

from __future__ import annotations

import os
from pathlib import Path

import django
from celery import Celery
from django.conf import settings

PEER = os.environ["PEER"]
HOME = Path(os.environ["PEER_HOME"])
SMTP = "django.core.mail.backends.smtp.EmailBackend"

BACKENDS = {
    "django": SMTP,
    "django-celery-email": "djcelery_email.backends.CeleryEmailBackend",
    "django-post_office": "post_office.EmailBackend",
    "django-mailer": "mailer.backend.DbBackend",
}
APPS = {
    "django": [],
    "django-celery-email": ["djcelery_email"],
    "django-post_office": ["django.contrib.contenttypes", "post_office"],
    "django-mailer": ["mailer"],
}
# A database as durable as our journal: what was written within the last second may be lost with
# the machine, nothing with a process.
DATABASE = {
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": HOME / "db.sqlite3",
    "OPTIONS": {
        "transaction_mode": "IMMEDIATE",
        "timeout": 30,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
    },
}

settings.configure(
    SECRET_KEY="of a benchmark",
    INSTALLED_APPS=APPS[PEER],
    DATABASES={"default": DATABASE},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    MEDIA_ROOT=HOME / "media",
    TEMPLATES=[
        {"BACKEND": "django.template.backends.django.DjangoTemplates"},
        {"BACKEND": "post_office.template.backends.post_office.PostOfficeTemplates"},
    ][: 1 + (PEER == "django-post_office")],
    USE_TZ=True,
    EMAIL_BACKEND=BACKENDS[PEER],
    EMAIL_HOST="127.0.0.1",
    EMAIL_PORT=int(os.environ["EMAIL_PORT"]),
    CELERY_EMAIL_CHUNK_SIZE=int(os.environ.get("CHUNK_SIZE", "10")),
    CELERY_EMAIL_TASK_CONFIG={"ignore_result": True},
    POST_OFFICE={
        "BACKENDS": {"default": SMTP},
        "BATCH_SIZE": 1000,  # 100 by default; each batch opens its connections anew
        "LOG_LEVEL": 1,  # a row for each failure; a message's state is kept anyway
    },
    MAILER_EMAIL_BACKEND=SMTP,
    MAILER_LOCK_PATH=str(HOME / "send_mail"),
    MAILER_EMAIL_LOG_MESSAGE_DATA=False,  # its log keeps each whole message otherwise
)
django.setup()

app = Celery("project")
app.conf.update(
    broker_url=os.environ.get("BROKER_URL", "memory://"),
    broker_connection_retry_on_startup=True,
    task_ignore_result=True,
    result_backend=None,
    worker_send_task_events=False,
)
app.set_default()
app.autodiscover_tasks(["djcelery_email"] if PEER == "django-celery-email" else [], force=True)
