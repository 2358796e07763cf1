"""JSON by msgspec says what Python's own module says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailqueue.queue import quickjson

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters()),  # surrogates too
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def outcome(call: Any, *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except (ValueError, TypeError) as error:
        return type(error), str(error)


@given(PLAIN)
def test_what_is_written_is_read_by_either(value):
    """Also half a character, and numbers beyond 64 bits."""
    assert json.loads(quickjson.dumps(value)) == value
    assert quickjson.loads(json.dumps(value)) == value
    assert quickjson.loads(quickjson.dumps(value)) == value


@given(st.text(alphabet='{}[]",:\\u0123456789dEe+-.truefalsn \n\x00é\ud800'))
def test_what_is_no_json_is_the_same_error(text):
    """Python's own says what is wrong."""
    assert repr(outcome(quickjson.loads, text)) == repr(outcome(json.loads, text))


@pytest.mark.parametrize(
    "text",
    ['"\\ud800"', "NaN", "1e400", "-Infinity", str(2**70), "[" * 500 + "]" * 500, '{"a":1,"a":2}'],
)
def test_what_msgspec_refuses_is_read_as_before(text):
    """What an earlier version has written may hold it."""
    assert repr(quickjson.loads(text)) == repr(json.loads(text))


class Word(str):
    """Text of a class of its own, as a template gives it."""


@pytest.mark.parametrize("value", [Word("a"), {Word("a"): Word("b")}, {"n": 2**70}, {1: "a"}])
def test_what_msgspec_does_not_write_is_written_as_before(value):
    """A subclass of text is text."""
    assert json.loads(quickjson.dumps(value)) == json.loads(json.dumps(value))


def test_what_json_cannot_hold_is_an_error():
    """Not some text that nobody could read again."""
    with pytest.raises(TypeError, match="object is not JSON serializable"):
        quickjson.dumps({"a": object()})
