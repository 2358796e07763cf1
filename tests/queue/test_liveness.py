"""Which applications notice that connections to their broker died without a word."""

from __future__ import annotations

import pytest
from celery import Celery

from mailqueue.queue.liveness import liveness_options, shortcomings


def app(url: str, **options: object) -> Celery:
    found = Celery("project", set_as_current=False, fixups=())
    found.conf.update(broker_url=url, **options)
    return found


@pytest.mark.parametrize(
    ("url", "lacking"),
    [
        ("redis://h/0", {"socket_timeout", "socket_connect_timeout", "broker_channel_error_retry"}),
        (
            "rediss://h/0",
            {"socket_timeout", "socket_connect_timeout", "broker_channel_error_retry"},
        ),
        ("amqp://h//", {"broker_heartbeat", "broker_channel_error_retry"}),
        ("amqps://h//", {"broker_heartbeat", "broker_channel_error_retry"}),
    ],
)
def test_what_an_application_lacks_by_default_is_named(url, lacking):
    """And nothing is missing with the options that our own application has."""
    found = list(shortcomings(app(url)))
    assert len(found) == len(lacking)
    assert all(any(name in one for one in found) for name in lacking)
    options = liveness_options(url, 5.0)
    assert list(shortcomings(app(url, broker_channel_error_retry=True, **options))) == []


@pytest.mark.parametrize("value", [0, None, 120])
def test_checks_that_are_off_or_too_seldom_are_named(value):
    """Without kombu's check nobody notices that a task is awaited in vain."""
    timeouts = {"socket_timeout": 5, "health_check_interval": value}
    lacking = app("redis://h/0", broker_channel_error_retry=True, broker_transport_options=timeouts)
    (found,) = shortcomings(lacking)
    assert found == f"broker_transport_options['health_check_interval'] = {value}"


def test_other_brokers_are_left_alone():
    """Nothing is known of what they need."""
    assert liveness_options("sqs://", 5.0) == {}
    assert list(shortcomings(app("sqs://", broker_channel_error_retry=True))) == []
