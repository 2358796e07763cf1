"""How long the journal keeps a large attachment that several messages carry, in any order."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mailqueue.queue.journal import Journal
from tests.contracts.journals import SENT, claimed, entry

BLOB = "mailqueue:{q}:blob:abc"
FOR_EVER, GONE = -1, -2  # what `TTL` says


def accept(journal: Journal) -> None:
    journal.accept([entry("m", blobs={"abc": "content"})])


def store_in_vain(journal: Journal) -> None:
    """Another producer has found it missing before, and its own message is never accepted."""
    journal._store([entry("other", blobs={"abc": "content"})], ["abc"])


def send(journal: Journal) -> None:
    assert journal.settle(claimed(journal, "m"), SENT)


def hold_and_discard(journal: Journal) -> None:
    journal.hold(["m"])
    journal.discard(["m"])


def cancel(journal: Journal) -> None:
    journal.cancel(["m"])


ORDERS: list[tuple[list[Callable[[Journal], None]], range]] = [
    ([accept], range(FOR_EVER, FOR_EVER + 1)),
    ([store_in_vain], range(590, 601)),
    ([store_in_vain, accept], range(FOR_EVER, FOR_EVER + 1)),
    ([accept, store_in_vain], range(FOR_EVER, FOR_EVER + 1)),
    ([accept, store_in_vain, accept, store_in_vain], range(FOR_EVER, FOR_EVER + 1)),
    *(
        ([*before, end], range(GONE, GONE + 1))
        for end in (send, cancel, hold_and_discard)
        for before in ([accept], [accept, store_in_vain], [store_in_vain, accept])
    ),
    ([accept, send, store_in_vain], range(590, 601)),
    ([accept, send, accept], range(590, 601)),
]


@pytest.mark.parametrize(("steps", "lasts"), ORDERS)
def test_an_attachment_lasts_as_long_as_a_message_needs_it(journal, client, steps, lasts):
    """What a message refers to lasts for ever, whoever stores it again; the rest ten minutes."""
    for step in steps:
        step(journal)
    assert client.ttl(BLOB) in lasts


def test_a_loose_attachment_that_vanishes_is_stored_once_more(journal, client):
    """Storing prolongs no life, so it may be gone when its message comes; it is asked for then."""
    store_in_vain(journal)
    client.delete(BLOB)
    accept(journal)
    assert client.ttl(BLOB) == FOR_EVER
    assert journal.blob("abc") == "content"
