"""Composing: Django's mail API."""
