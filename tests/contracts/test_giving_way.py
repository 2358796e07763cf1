"""A task that ends early, since other mail waits for the same worker, or urgent mail comes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mailqueue.delivery.batch import Item
from mailqueue.delivery.executor import Delivery
from mailqueue.queue import payload
from mailqueue.state import State
from tests.contracts.delivering import POLICY, connected, letter, post
from tests.contracts.journals import entry
from tests.scripted import ScriptedServer


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(features=("PIPELINING",)) as found:
        yield found


IDS = [f"m{n}" for n in range(20)]


def test_a_task_that_gives_way_has_delivered_something(journal, server):
    """Else two tasks could give way to each other for ever; what it leaves costs no attempt."""
    for id_ in IDS:
        post(journal, letter(), id_)
    with connected(server) as connection:
        delivery = Delivery(journal, connection, POLICY, gives_way=lambda: True)
        tally = delivery.run(map(Item, IDS))
    sent = tally["sent"]
    assert 1 <= sent <= 2  # with the one that has begun by then
    assert sorted(delivery.rest) == sorted(IDS[sent:])
    found = {(record.state, record.attempts) for record in journal.read(IDS)}
    assert found == {(State.SENT, 1), (State.QUEUED, 0)}


def test_nobody_joins_a_task_that_has_given_way(journal, server):
    """What comes then has a task of its own, and what has joined is left for another one."""
    for id_ in IDS:
        post(journal, letter(), id_)
    journal.accept([entry("first")], room=9)
    journal.accept([entry("joined")], room=9)
    with connected(server) as connection:
        delivery = Delivery(journal, connection, POLICY, gives_way=lambda: True)
        delivery.run(map(Item, ["first", *IDS]))
    assert delivery.left == 2
    assert journal.accept([entry("next")], room=9)[0].needs_task


def test_urgent_mail_goes_before_what_is_claimed_already(journal, server):
    """It comes in the middle of a task, and goes after what is being made ready by then."""
    for id_ in IDS:
        post(journal, letter(f"{id_}@example.com"), id_)

    def script(_session: object, phase: str, _command: str) -> None:
        if phase == "dot" and len(server.accepted) == 2:
            post_urgent("now")

    def post_urgent(id_: str) -> None:
        text = payload.dumps(letter("now@example.com"), id_)
        journal.accept([entry(id_, payload=text, digest=payload.digest(text), priority="high")])

    server.script = script
    with connected(server) as connection:
        tally = Delivery(journal, connection, POLICY).run(map(Item, IDS))
    assert tally == {"sent": 21}
    order = [mail.recipients[0] for mail in server.accepted]
    assert order.index("now@example.com") < 8
