"""Django's mail API for any Python program, delivered in the background by Celery."""
