"""What a process keeps: as much as fits, and what was wanted last."""

from __future__ import annotations

import json

import pytest

from mailqueue.errors import PayloadError
from mailqueue.mail.rendering.cache import SizedCache
from mailqueue.queue.payload.blob import Blob, BlobCache, sha256


class Library:
    """Makes values of ten times their key, and notes which."""

    def __init__(self, limit: int) -> None:
        self.made: list[str] = []
        self.cache: SizedCache[str, str] = SizedCache(limit)

    def get(self, key: str) -> str:
        def make() -> str:
            self.made.append(key)
            return key * 10

        return self.cache.get(key, make, len)


def test_a_value_is_made_once() -> None:
    """As long as there is room."""
    library = Library(30)
    assert [library.get(key) for key in "aba"] == ["a" * 10, "b" * 10, "a" * 10]
    assert library.made == ["a", "b"]


def test_what_was_wanted_longest_ago_goes_first() -> None:
    """And what is kept never takes more than the limit."""
    library = Library(30)
    for key in "abcad":
        library.get(key)
        assert library.cache.size <= 30
    assert library.made == list("abcd")
    library.get("a")
    assert library.made == list("abcd")
    library.get("b")
    assert library.made == list("abcdb")


def test_what_is_larger_than_the_cache_takes_no_others_place() -> None:
    """It is made each time."""
    library = Library(30)
    for key in ["a", "long", "long", "a"]:
        assert library.get(key) == key * 10
    assert library.made == ["a", "long", "long"]


def test_what_can_not_be_made_is_tried_again() -> None:
    """An error isn't kept."""
    cache: SizedCache[str, str] = SizedCache(30)
    with pytest.raises(ZeroDivisionError):
        cache.get("a", lambda: str(1 / 0), len)
    assert cache.get("a", lambda: "now", len) == "now"


def test_a_stored_attachment_is_fetched_and_decoded_once() -> None:
    """The next message with the same one gets the same bytes object."""
    text, fetched = "AAEC", []
    name = sha256(text)

    def fetch(wanted: str) -> str:
        fetched.append(wanted)
        return text

    cache = BlobCache()
    first = cache.get(name, fetch).data
    assert first == b"\0\1\2"
    assert cache.get(name, fetch).data is first
    assert cache.get(name, fetch).text == text
    assert fetched == [name]


@pytest.mark.parametrize(("content", "reason"), [(None, "gone"), ("changed", "damaged")])
def test_a_stored_attachment_that_is_not_what_it_was_is_refused(content, reason) -> None:
    """Each time: what the journal lacks today may be there tomorrow."""
    cache = BlobCache()
    for _ in range(2):
        with pytest.raises(PayloadError, match=reason):
            cache.get(sha256("AAEC"), lambda _: content)
    assert cache.get(sha256("AAEC"), lambda _: "AAEC").text == "AAEC"


def test_a_blob_is_decoded_once_and_still_has_its_text() -> None:
    """Whatever it was taken for before: text, JSON or bytes."""
    text = json.dumps({"payload": "é", "headers": [["Content-ID", "<a@b>", False]]})
    blob = Blob(text)
    assert blob.json is blob.json
    assert blob.text == text
    assert blob.json == json.loads(text)
    encoded = Blob("MTIz")
    assert encoded.data is encoded.data
    assert (encoded.data, encoded.text) == (b"123", "MTIz")
