"""Wishes for a message: made by nobody, by a wrong name, or by a number that is no time."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailqueue import EmailMessage, configure
from mailqueue.errors import PayloadError
from mailqueue.queue.misnomer import OPTIONS
from mailqueue.queue.options import Options, options_of


class UNSET:
    """As Anymail marks an attribute that nobody has set."""


@pytest.mark.parametrize("name", Options._fields)
def test_what_is_marked_as_unset_is_not_wished_for(name):
    """Anymail's own message classes carry such marks, and are queued like any other."""
    message = EmailMessage()
    setattr(message, name, UNSET)
    assert options_of(message) == Options()


def with_attribute(name: str, value: object) -> EmailMessage:
    message = EmailMessage()
    setattr(message, name, value)
    return message


LENGTHS = st.floats(-1e9, 946_684_799) | st.integers(-(10**9), 946_684_799)
MILLISECONDS = st.integers(946_684_800_000, 10**14) | st.floats(1e11, 1e18)
ODD = st.sampled_from([float("nan"), float("inf"), 10**400, timedelta(minutes=10), True, b"600"])


@pytest.mark.parametrize("name", ["send_at", "expires_at"])
@given(value=LENGTHS | MILLISECONDS | ODD | LENGTHS.map(str) | st.sampled_from(["10m", "+600", ""]))
def test_what_is_no_point_in_time_is_an_error_that_says_how_to_write_one(name, value):
    """`expires_at = 600` was read as 1970, and the message expired at once; an hour, as at once."""
    with pytest.raises(PayloadError, match=f"{name} = .*") as caught:
        options_of(with_attribute(name, value))
    assert "write datetime.now(UTC) + timedelta(" in str(caught.value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (946_684_800, datetime(2000, 1, 1, tzinfo=UTC)),
        (1_800_000_000.5, datetime(2027, 1, 15, 8, 0, 0, 500_000, tzinfo=UTC)),
        ("2027-01-15T08:00:00Z", datetime(2027, 1, 15, 8, tzinfo=UTC)),
        ("2027-01-15T08:00+09:00", datetime(2027, 1, 14, 23, tzinfo=UTC)),
        (date(2027, 1, 15), datetime(2027, 1, 15).astimezone(UTC)),
        (datetime(1969, 7, 20, tzinfo=UTC), datetime(1969, 7, 20, tzinfo=UTC)),
    ],
)
def test_a_point_in_time_may_be_written_in_several_ways(value, expected):
    """As Anymail reads it; what names no time zone is meant in local time."""
    assert options_of(with_attribute("send_at", value)).send_at == expected


@pytest.mark.parametrize("value", [0, 5, 9.0, "urgent", "HIGH", ["high"], True])
def test_a_priority_that_is_none_is_an_error_that_names_them(value):
    """Other libraries have numbers."""
    with pytest.raises(PayloadError, match="must be one of 'high', 'normal', 'low'"):
        options_of(with_attribute("priority", value))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("expire_at", "expires_at"),
        ("expires", "expires_at"),
        ("ExpiresAt", "expires_at"),
        ("send_after", "send_at"),
        ("sendat", "send_at"),
        ("sned_at", "send_at"),
        ("delay", "send_at"),
        ("countdown", "send_at"),
        ("prioriy", "priority"),
        ("prio", "priority"),
        ("queue_name", "queue"),
        ("queeu", "queue"),
        ("idempotence_key", "idempotency_key"),
        ("idempotencykey", "idempotency_key"),
        ("mailqueue_priority", "priority"),
        ("mailqueue_sendat", "send_at"),
    ],
)
def test_a_name_that_comes_close_to_an_option_is_an_error_that_names_it(name, meant):
    """The attribute was carried along, and the wish was lost."""
    with pytest.raises(PayloadError, match=f"'{name}' has no effect: is '{meant}' meant"):
        options_of(with_attribute(name, 600))
    kind: Any = type("OfAClass", (EmailMessage,), {name: 600})
    with pytest.raises(PayloadError, match=f"is '{meant}' meant"):
        options_of(kind())
    assert options_of(with_attribute(name, None)) == Options()
    assert options_of(with_attribute(f"_{name}", 600)) == Options()


@pytest.mark.parametrize(
    "name",
    ["tags", "metadata", "esp_extra", "envelope_sender", "track_clicks", "track_opens", "batch_id",
     "template_id", "merge_data", "merge_global_data", "merge_headers", "merge_metadata",
     "anymail_status", "sent_at", "expired_at", "queued", "template", "context", "on_commit"],
)  # fmt: skip
def test_attributes_of_others_are_nobodys_wish(name):
    """Anymail's, and what applications note of a message."""
    assert options_of(with_attribute(name, 600)) == Options()


def test_a_method_may_have_any_name():
    """A class whose messages have a method `delay` or a property `expires` says nothing by it."""

    class Task(EmailMessage):
        @property
        def expires(self) -> int:
            return 600

        def delay(self) -> None:
            pass

    message = Task()
    message.countdown = print
    assert options_of(message) == Options()


@pytest.mark.parametrize("of_class", [False, True])
def test_a_name_that_is_left_behind_is_no_wish(of_class):
    """A package's class may mean something else by it, and can't be given another name."""
    kind: Any = type("Parcel", (EmailMessage,), {"eta": "noon"} if of_class else {})
    message = kind()
    if not of_class:
        message.eta = "noon"
    with pytest.raises(PayloadError, match="LEAVE_BEHIND"):
        options_of(message)
    configure(MAILQUEUE={"LEAVE_BEHIND": {f"{__name__}.Parcel": ["eta"]}})
    assert options_of(message) == Options()


def test_the_options_are_those_that_errors_name():
    """An option that is added is named, too."""
    assert Options._fields == OPTIONS
