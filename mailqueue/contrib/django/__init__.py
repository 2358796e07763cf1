"""A Django app without models: checks, error reports, the task for a project's own Celery app."""
