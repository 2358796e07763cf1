"""What counts for MAX_MESSAGE_SIZE."""

from __future__ import annotations

import random

import pytest

from mailqueue.queue.journal import open_journal
from tests.contracts.delivering import letter

LIMIT = 100 * 1024


@pytest.fixture(autouse=True)
def limited(producer: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILQUEUE_MAX_MESSAGE_SIZE", "100KiB")


@pytest.mark.parametrize("threshold", ["1KiB", "1MiB"], ids=["stored apart", "in the payload"])
@pytest.mark.parametrize(("kib", "fits"), [(73, True), (76, False)])
def test_an_attachment_counts_as_base64(kib, fits, threshold, monkeypatch):
    """An attachment counts a third more than the file has, wherever it is kept."""
    monkeypatch.setenv("MAILQUEUE_BLOB_THRESHOLD", threshold)
    message = letter()
    message.attach("file", random.Random(1).randbytes(kib * 1024), "application/octet-stream")
    if fits:
        assert message.send() == 1
    else:
        with pytest.raises(ValueError, match="MAX_MESSAGE_SIZE"):
            message.send()
    assert open_journal().totals() == ({"accepted": 1} if fits else {})


def test_long_text_counts_as_compressed():
    """Text that compresses well may be longer than MAX_MESSAGE_SIZE."""
    message = letter(body="A line of the letter.\n" * LIMIT)
    assert message.send() == 1
