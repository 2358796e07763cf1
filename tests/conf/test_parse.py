"""The short notations of settings."""

import pytest

from mailqueue.conf.parse import parse_boolean, parse_duration, parse_schedule, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("5m", 300), ("4h", 14400), ("7d", 604800), ("2w", 1209600), ("500ms", 0.5),
     ("30", 30), (30, 30), (1.5, 1.5), (" 1 h ", 3600), ("1.5h", 5400), (0, 0)],
)  # fmt: skip
def test_durations_are_read_in_seconds(text, seconds):
    """A duration is a number with a unit; without one it is in seconds."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "x", "1y", "-1s", "1 2s", "s", None, True, -1, float("nan")])
def test_what_is_no_duration_is_refused(text):
    """Anything else is an error that shows what a duration looks like."""
    with pytest.raises(ValueError, match="is not a duration such as"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("25MiB", 26214400), ("64 KiB", 65536), ("1MB", 1000000), ("10", 10), (10, 10), ("0B", 0)],
)
def test_sizes_are_read_in_bytes(text, size):
    """A size is a number with a unit; without one it is in bytes."""
    assert parse_size(text) == size


def test_a_schedule_repeats_what_is_multiplied():
    """The schedule's notation lists the waits between attempts, and how often each is repeated."""
    assert parse_schedule("1m, 5m,15m , 1h*2") == (60, 300, 900, 3600, 3600)
    assert parse_schedule("") == ()
    assert parse_schedule([1, "2s"]) == (1, 2)


@pytest.mark.parametrize("text", ["1m*x", "1m**2", "*3", "1m*100000"])
def test_a_bad_schedule_is_refused(text):
    """A term that can't be read is an error; so is a schedule that would fill the memory."""
    with pytest.raises(ValueError, match=r"is not|has more"):
        parse_schedule(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", True), ("Yes", True), ("on", True), ("0", False), ("", False), (True, True)],
)
def test_booleans_are_read_in_the_usual_spellings(text, value):
    """The environment holds only text."""
    assert parse_boolean(text) is value


def test_what_is_no_boolean_is_refused():
    """A typing error must not be read as false."""
    with pytest.raises(ValueError, match="neither true nor false"):
        parse_boolean("treu")
