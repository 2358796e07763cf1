"""Settings of the example: a contact form and a newsletter, no database."""

import os

# What concerns mail -------------------------------------------------------------------------------

# The one line that makes `django.core.mail` queue what it sends. Django 6.1 takes it too; what it
# would rather have, MAILERS, is in docs/django.md.
EMAIL_BACKEND = "mailqueue.backends.queue.EmailBackend"

# By these, the worker delivers; 8025 is the inbox of `mailqueue up`.
EMAIL_HOST = os.environ.get("EMAIL_HOST", "127.0.0.1")
EMAIL_PORT = int(os.environ.get("EMAIL_PORT", "8025"))

DEFAULT_FROM_EMAIL = "The Letters Team <letters@example.com>"

# Without these, site and worker use the embedded server: a private Valkey whose data lie in
# `.mailqueue` in the working directory. In production, name two databases of a Redis or Valkey:
# MAILQUEUE = {
#     "JOURNAL_URL": "redis://127.0.0.1:6379/0",
#     "BROKER_URL": "redis://127.0.0.1:6379/1",
# }
MAILQUEUE = {}

# Who gets what the contact form sends.
CONTACT_RECIPIENTS = ["team@example.com"]

# What every project has ---------------------------------------------------------------------------

DEBUG = os.environ.get("DEBUG", "1") == "1"
SECRET_KEY = os.environ.get("SECRET_KEY", "an example's key, which protects nothing of anybody's")
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
INSTALLED_APPS = [
    "letters",
    "mailqueue.contrib.django",  # `manage.py check` checks the mail settings too
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "project.urls"
WSGI_APPLICATION = "project.wsgi.application"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
DATABASES = {}
USE_TZ = True
