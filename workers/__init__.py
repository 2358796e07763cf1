"""The ready-made Celery application: `celery -A workers worker`."""

from .app import app

__all__ = ["app"]
