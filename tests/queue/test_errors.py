"""The errors of the queue: what a stranger may catch, and that no library's error gets through."""

from __future__ import annotations

from collections.abc import Iterator
from smtplib import SMTPException

import pytest
import redis

from mailqueue import errors
from mailqueue.store.client import connect, translating_errors

REFUSALS = (redis.AuthenticationError, redis.BusyLoadingError, redis.ResponseError)
LOSSES = (redis.ConnectionError, redis.TimeoutError)
UNUSUAL = {redis.MaxConnectionsError}  # nothing was sent then


def all_of(kind: type[Exception]) -> Iterator[type[Exception]]:
    """That class of errors, and all that redis-py derives from it."""
    yield kind
    for found in kind.__subclasses__():
        if found.__module__.startswith("redis."):
            yield from all_of(found)


REDIS_ERRORS = sorted(set(all_of(redis.RedisError)), key=repr)


def error_of(kind: type[Exception]) -> Exception:
    """One of that class, however it is made."""
    error = kind.__new__(kind)
    Exception.__init__(error, "what went wrong")
    return error


@pytest.mark.parametrize("kind", REDIS_ERRORS, ids=lambda kind: kind.__qualname__)
def test_each_error_of_redis_becomes_ours(kind: type[Exception]) -> None:
    """An error of redis-py is JournalUnavailable, or unknown where an answer may have got lost."""
    client = connect("redis://127.0.0.1:1/0", 1.0)
    with pytest.raises(errors.JournalUnavailable), translating_errors(client):
        raise error_of(kind)
    is_lost = issubclass(kind, LOSSES) and not issubclass(kind, REFUSALS) and kind not in UNUSUAL
    expected = errors.EnqueueUnknown if is_lost else errors.JournalUnavailable
    with pytest.raises(errors.EnqueueError) as caught, translating_errors(client, unknown=("m",)):
        raise error_of(kind)
    assert type(caught.value) is expected
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    ("kind", "also"),
    [
        (errors.JournalUnavailable, (SMTPException, OSError, ConnectionError)),
        (errors.EnqueueUnknown, (SMTPException, OSError, TimeoutError)),
        (errors.PayloadError, (ValueError,)),
        (errors.BadHeaderError, (ValueError,)),
        (errors.MailerDoesNotExist, (errors.ImproperlyConfigured, KeyError)),
    ],
)
def test_an_error_is_what_a_stranger_would_catch(
    kind: type[Exception], also: tuple[type[Exception], ...]
) -> None:
    """An error of the queue is caught where a program caught the mail server's before."""
    assert all(issubclass(kind, one) for one in also)
