"""The settings of a Django project that sends through mailqueue; all else is in the environment."""

from __future__ import annotations

import os

SECRET_KEY = "of a benchmark"
INSTALLED_APPS = ["mailqueue.contrib.django"]
EMAIL_BACKEND = "mailqueue.backends.queue.EmailBackend"
EMAIL_HOST = os.environ["EMAIL_HOST"]
EMAIL_PORT = int(os.environ["EMAIL_PORT"])
