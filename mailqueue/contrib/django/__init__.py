"""A Django app without models: system checks, and the task for a project's own Celery app."""
