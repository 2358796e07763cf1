"""What a token function may return, and for how long it is used."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailqueue.oauth2.token import read_token

TODAY = datetime(2026, 11, 30, 12, tzinfo=UTC)
BERLIN = timezone(timedelta(hours=1))


@pytest.mark.parametrize(
    "end",
    [3600, 3600.0, TODAY + timedelta(hours=1), datetime(2026, 11, 30, 14, tzinfo=BERLIN)],
    ids=["int", "float", "UTC", "another zone"],
)
def test_an_end_is_seconds_or_a_time(end: Any) -> None:
    """Both say the same, and a token is replaced five minutes before it."""
    token = read_token(("abc", end), 1000.0, TODAY)
    assert (token.text, token.ends_at, token.renew_at) == ("abc", 4600.0, 4300.0)
    assert token.until == TODAY + timedelta(hours=1)


@given(st.floats(min_value=0, allow_nan=False))
@example(2.015625)
def test_a_token_is_replaced_before_its_end_and_not_at_once(seconds: float) -> None:
    """A short life leaves most of it to be used, an endless one is looked at again after a day."""
    token = read_token(("abc", seconds), 0.0, TODAY)
    nine_tenths = 0.9 * token.ends_at * (1 - 1e-12)  # floats round
    assert nine_tenths <= token.renew_at <= token.ends_at <= 86400
    assert token.ends_at - token.renew_at <= 300


@pytest.mark.parametrize("end", [-1, 0, TODAY - timedelta(hours=2)])
def test_a_token_that_has_ended_is_used_once(end: Any) -> None:
    """Where it is this machine's clock that is wrong, the server takes it all the same."""
    token = read_token(("abc", end), 1000.0, TODAY)
    assert (token.renew_at, token.ends_at) == (1000.0, 1000.0)


@pytest.mark.parametrize(
    ("returned", "wrong"),
    [
        ("s3cret", "not str"),
        (None, "not NoneType"),
        (("s3cret",), "not tuple"),
        (("s3cret", 1, 2), "not tuple"),
        ((b"s3cret", 1), "no text"),
        (("", 1), "no text"),
        (("s3cret\r\nRCPT", 1), "no text"),
        (("s3cret\x01auth=", 1), "no text"),
        (("s3crét", 1), "no text"),
        (("s3cret", None), "this end is NoneType"),
        (("s3cret", True), "this end is bool"),
        (("s3cret", "3600"), "this end is str"),
        (("s3cret", float("nan")), "this end is float"),
        (("s3cret", datetime(2026, 11, 30)), "no time zone"),
    ],
)
def test_anything_else_is_an_error_that_shows_no_token(returned: object, wrong: str) -> None:
    """It says what is wanted, and what is wrong."""
    with pytest.raises(ValueError, match=r"\(str, aware datetime or seconds\)") as raised:
        read_token(returned, 0.0, TODAY)
    assert wrong in str(raised.value)
    assert "s3cr" not in str(raised.value)


def test_a_token_is_not_shown() -> None:
    """Its repr stands in tracebacks that show variables."""
    assert "abc" not in repr(read_token(("abc", 1), 0.0, TODAY))
