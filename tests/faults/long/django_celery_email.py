"""A Django project with django-celery-email, its tasks acknowledged late."""

from __future__ import annotations

import os

import django
from celery import Celery
from django.conf import settings

from tests.faults.long.plain_celery import OPTIONS

settings.configure(
    INSTALLED_APPS=["djcelery_email"],
    EMAIL_BACKEND="djcelery_email.backends.CeleryEmailBackend",
    EMAIL_HOST="127.0.0.1",
    EMAIL_PORT=int(os.environ["EMAIL_PORT"]),
    CELERY_EMAIL_TASK_CONFIG={"acks_late": True, "reject_on_worker_lost": True},
)
django.setup()

app = Celery("project")
app.conf.update(OPTIONS)
app.set_default()
app.autodiscover_tasks(["djcelery_email"], force=True)
