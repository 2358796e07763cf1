"""Composition only: mailqueue's application, with the options of ``config.py``."""

from mailqueue.celery import create_app

app = create_app()
app.config_from_object("workers.config")
