"""What the settings refuse, and what no other source may say."""

from typing import Any

import pytest

from mailqueue import configure
from mailqueue.errors import ImproperlyConfigured
from mailqueue.mail.routing import delivery_backend
from tests.support import in_django

QUEUE = "mailqueue.backends.queue.EmailBackend"


@pytest.mark.parametrize("name", ["LEASE", "QUEUE", "BATCH_SIZE", "BACKEND"])
def test_none_is_no_value_of_the_queues_settings(name):
    """Of MAILQUEUE's keys None is an error that names the key, and not silently the default."""
    with pytest.raises(ImproperlyConfigured, match=name):
        configure(MAILQUEUE={name: None})


def test_a_key_is_not_shown():
    """The error for a list of keys that can't be read shows none of them."""
    with pytest.raises(ImproperlyConfigured, match=r"\(not shown\)") as caught:
        configure(MAILQUEUE={"SECRET_KEYS": ["hunter2", ""]})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "name", "text", "expected"),
    [
        # From 6.1 on, Django doesn't have it beside MAILERS.
        ({"MAILERS": {"default": {}}}, "EMAIL_HOST", "elsewhere.example.com", "localhost"),
        # Before, it has none at all.
        ({}, "MAILERS", '{"other": {}}', {}),
    ],
)
def test_what_django_does_not_have_comes_from_nowhere_else(
    values: dict[str, Any], name: str, text: str, expected: object
):
    """Where Django is configured, the environment doesn't fill in for settings that it lacks."""
    assert in_django(values, f"result = settings.{name}", **{name: text}) == expected


@pytest.mark.parametrize(
    "options",
    [
        {"MAILQUEUE": {"BACKEND": QUEUE}},
        {"MAILQUEUE": {"USING": "queue"}, "MAILERS": {"queue": {"BACKEND": QUEUE}}},
        {"MAILQUEUE": {"USING": "default"}, "EMAIL_BACKEND": QUEUE},
    ],
)
def test_the_queue_does_not_deliver(options):
    """A worker that would only queue again what it should deliver says so."""
    configure(**options)
    with pytest.raises(ImproperlyConfigured, match="would queue what it should deliver"):
        delivery_backend()
