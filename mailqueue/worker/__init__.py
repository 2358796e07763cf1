"""What a Celery worker does besides tasks."""
