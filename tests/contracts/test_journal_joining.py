"""Messages that join a task which is known to wait."""

from __future__ import annotations

from mailqueue.state import State
from tests.contracts.journals import (
    claimed,
    entry,
    hasty,
    ids_of,
    state,
)


def test_a_message_joins_a_task_that_waits(journal):
    """The first needs a task; those that come while that waits don't, and are taken with it."""
    assert journal.accept([entry("m")], room=2) == [("m", True)]
    assert journal.accept([entry("n"), entry("o")], room=2) == [("n", False), ("o", False)]
    assert journal.claim([("m", "")])[1] == 1
    claims, left = journal.take(1, begins="m")
    assert ([claim.id for claim in claims], left) == (["n"], 1)
    assert claims[0].payload == "payload of n"
    claims, left = journal.take(5)
    assert ([claim.id for claim in claims], left) == (["o"], 0)
    assert state(journal, "o") is State.SENDING
    assert journal.take(5) == ([], 0)


def test_a_task_has_room_for_so_many(journal):
    """The next one needs a task of its own, which the following join."""
    ids = ["m", "n", "o", "p", "q"]
    answers = [journal.accept([entry(id_)], room=2)[0].needs_task for id_ in ids]
    assert answers == [True, False, False, True, False]


def test_messages_that_come_together_are_named_together(journal):
    """Where one of them needs a task, that names those after it too."""
    assert [a.needs_task for a in journal.accept([entry("m"), entry("n")], room=9)] == [True, True]
    assert len(journal.claim([("m", ""), ("n", "")])[0]) == 2
    assert journal.take(5, begins="m") == ([], 0)


def test_a_task_that_runs_may_take_what_a_new_one_names(journal):
    """It would come late otherwise: those behind it, which join, are taken at once."""
    journal.accept([entry("m")], room=9)
    claimed(journal, "m")
    journal.take(5, begins="m")
    assert [a.needs_task for a in journal.accept([entry("n"), entry("o")], room=9)] == [True, True]
    assert journal.accept([entry("p")], room=9) == [("p", False)]
    assert [claim.id for claim in journal.take(5)[0]] == ["n", "o", "p"]
    assert journal.claim([("n", ""), ("o", "")]) == ([], 2)
    assert journal.take(5, begins="n") == ([], 0)


def test_a_task_that_has_begun_waits_no_more(journal):
    """What is accepted from then on needs another task: the first may be busy for long."""
    journal.accept([entry("m")], room=9)
    journal.take(1, begins="m")
    assert journal.accept([entry("n")], room=9) == [("n", True)]
    journal.take(1)
    assert journal.accept([entry("o")], room=9) == [("o", False)]


def test_a_task_that_begins_ends_nobody_elses_waiting(journal):
    """There is a newer one in the broker by then, which others may join until it begins, too."""
    for id_ in ["m", "n"]:
        journal.accept([entry(id_)], room=0)
    journal.accept([entry("o")], room=1)
    journal.accept([entry("p")], room=1)
    assert journal.accept([entry("q")], room=1) == [("q", True)]  # the newest
    journal.take(0, begins="o")
    assert journal.accept([entry("r")], room=1) == [("r", False)]
    journal.take(0, begins="q")
    assert journal.accept([entry("s")], room=1) == [("s", True)]


def test_what_is_left_is_the_next_tasks(journal):
    """It needs another task only where none is known to wait."""
    for id_ in ["m", "n", "o"]:
        journal.accept([entry(id_)], room=9)
    assert journal.take(1)[1] == 0
    assert journal.take(0, begins="m")[1] == 2


def test_a_task_is_known_to_wait_for_a_second_only(journal, clock):
    """It may have been lost; then those that joined it are found by the timer, and no more join."""
    assert journal.accept([entry("m")], room=9) == [("m", True)]
    clock.advance(0.7)
    assert journal.accept([entry("n")], room=9) == [("n", False)]
    clock.advance(0.3)
    assert journal.accept([entry("o")], room=9) == [("o", False)]  # which prolonged nothing
    clock.advance(0.001)
    assert journal.accept([entry("p")], room=9) == [("p", True)]
    assert journal.accept([entry("q")], room=9) == [("q", False)]


def test_joined_messages_are_taken_by_priority(journal):
    """High before low; each priority has a task of its own to join."""
    low, high = [[entry(f"{p}{n}", priority=p) for n in range(2)] for p in ("low", "high")]
    for one in [*low, *high]:
        journal.accept([one], room=9)
    claims, _ = journal.take(5)
    assert [claim.id for claim in claims] == ["high0", "high1", "low0", "low1"]


def test_what_was_changed_since_it_joined_is_not_taken(journal):
    """Held, cancelled, claimed by its id, gone: it goes its own way."""
    journal.accept([entry("m")], room=9)
    joined = ["held", "cancelled", "claimed", "good"]
    for id_ in joined:
        assert journal.accept([entry(id_)], room=9) == [(id_, False)]
    journal.hold(["held"])
    journal.cancel(["cancelled"])
    claimed(journal, "claimed")
    claims, left = journal.take(5, begins="m")
    assert ([claim.id for claim in claims], left) == (["m", "good"], 0)


def test_what_is_late_is_not_taken_along(journal, clock):
    """A message that joined a task and has expired meanwhile is never sent."""
    journal.accept([entry("m", expires_at=clock.after(1)), entry("n")], room=9)
    clock.advance(1)
    assert [claim.id for claim in journal.take(9)[0]] == ["n"]
    assert state(journal, "m") is State.EXPIRED


def test_what_is_left_counts_for_all_priorities(journal, clock):
    """A task that ends knows of all that needs another one, once those known of are lost."""
    for priority in ("high", "low"):
        journal.accept([entry(f"{priority}{n}", priority=priority) for n in range(2)], room=9)
    assert journal.take(0) == ([], 0)
    clock.advance(1.001)
    assert journal.take(0) == ([], 4)


def test_a_call_looks_at_no_more_than_a_thousand(journal, client):
    """A long list of messages that went their own way is left to the calls that follow."""
    client.rpush("mailqueue:{q}:joined:normal", *[f"gone{n}" for n in range(1000)])
    journal.accept([entry("m")], room=9)
    assert journal.take(9, begins="m") == ([], 1)
    assert [claim.id for claim in journal.take(9)[0]] == ["m"]


def test_what_joined_a_task_that_was_lost_is_released_by_the_timer(journal):
    """It is due after the grace, like any message without a task."""
    journal = hasty(journal)
    journal.accept([entry("m")], room=9)
    journal.accept([entry("n")], room=9)
    assert ids_of(journal.release()) == ["m", "n"]
    claimed(journal, "n")


def test_a_scheduled_message_joins_nothing(journal, clock):
    """Its time comes later, and the timer publishes its task then."""
    journal.accept([entry("m")], room=9)
    assert journal.accept([entry("n", send_at=clock.after(3600))], room=9) == [("n", False)]
    assert [claim.id for claim in journal.take(5, begins="m")[0]] == ["m"]


def test_a_commit_says_what_is_more_urgent(journal):
    """So many levels, from the highest on, have what is to be taken before the next message."""
    journal.accept([entry("low", priority="low"), entry("m"), entry("now", priority="high")])
    journal.accept([entry("soon")], room=9)
    urgent = [journal.advance([], [claimed(journal, id_)]).urgent for id_ in ("m", "low")]
    assert urgent == [1, 2]
    assert [claim.id for claim in journal.take(5, levels=1)[0]] == ["now"]
    assert [claim.id for claim in journal.take(5, levels=2)[0]] == ["soon"]
    journal.accept([entry("next", priority="high")])
    journal.accept([entry("last", priority="high")])
    assert journal.advance([], [claimed(journal, "next")]).urgent == 0


def test_urgent_messages_are_found_without_their_task(journal, clock):
    """One of a long list, and one whose time has come."""
    journal.accept([entry("now", priority="high")], room=0)
    journal.accept([entry("later", priority="high", send_at=clock.after(3600))], room=9)
    assert [claim.id for claim in journal.take(5, levels=1)[0]] == ["now"]
    clock.advance(3600)
    journal.release()
    assert [claim.id for claim in journal.take(5, levels=1)[0]] == ["later"]
