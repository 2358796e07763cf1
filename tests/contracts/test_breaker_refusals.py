"""What workers share of a mailer that refuses: whether it accepts mail, and BDAT."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from mailqueue.delivery.gate.breaker import LocalBreaker, SharedBreaker
from mailqueue.delivery.refusal import Blame
from mailqueue.delivery.trouble import Misconfigured, ServerTrouble
from mailqueue.store.client import connect
from tests.contracts.journals import Clock

HOUR, DAY = 3600, 86400
OURS, DOUBTFUL, THEIRS = Blame
Make = Callable[[], SharedBreaker | LocalBreaker]


@pytest.fixture(params=["shared", "local", "without the journal"])
def make(
    request: pytest.FixtureRequest, client: redis.Redis, clock: Clock, unused_port: int
) -> Make:
    """Make a worker's breaker; without a store in common, it is always the same worker's."""
    options = {"clock": lambda: clock.seconds}
    if request.param == "shared":
        return lambda: clock.on(SharedBreaker(client, "smtp.example.com:25", **options))
    alone = LocalBreaker(**options)
    if request.param != "local":
        away = connect(f"redis://127.0.0.1:{unused_port}/0", 30.0)
        alone = SharedBreaker(away, "smtp.example.com:25", **options)
    return lambda: alone


def test_three_messages_make_it_our_mistake(make: Make) -> None:
    """Whichever workers have sent them, and for whatever comes after them."""
    found = [make().note_refusal(id_) for id_ in ["a", "b", "a", "b", "c", "a", "d"]]
    assert found == [DOUBTFUL] * 4 + [OURS] * 3


def test_who_is_accepted_makes_it_theirs(make: Make) -> None:
    """All refusals of the hour after that, also of those that were refused before."""
    one, other = make(), make()
    assert [one.note_refusal(id_) for id_ in "ab"] == [DOUBTFUL] * 2
    other.note_accepted()
    assert [one.note_refusal(id_) for id_ in "abcdef"] == [THEIRS] * 6


def test_an_alarm_ends_with_the_first_who_is_accepted(make: Make) -> None:
    """The refusals before it count no more."""
    one = make()
    assert [one.note_refusal(id_) for id_ in "abc"][-1] is OURS
    one.note_accepted()
    assert one.note_refusal("a") is THEIRS


def test_a_message_alone_gets_its_verdict_after_an_hour(make: Make, clock: Clock) -> None:
    """It is counted on, since a mailer with little mail may be set up wrongly too."""
    one = make()
    assert one.note_refusal("a") is DOUBTFUL
    clock.advance(HOUR - 1)
    assert [one.note_refusal(id_) for id_ in "ab"] == [DOUBTFUL] * 2
    clock.advance(1)
    assert [one.note_refusal(id_) for id_ in "ab"] == [THEIRS, DOUBTFUL]
    clock.advance(DAY - HOUR - 1)
    assert one.note_refusal("c") is OURS


def test_what_was_refused_a_day_ago_counts_no_more(make: Make, clock: Clock) -> None:
    """One bad address a day is no alarm."""
    one = make()
    for id_ in "abcd":
        assert one.note_refusal(id_) is DOUBTFUL
        clock.advance(DAY * 0.6)


def test_nobody_knows_whether_it_accepts_mail_an_hour_later(make: Make, clock: Clock) -> None:
    """A server may have been set up otherwise by then."""
    one = make()
    one.note_accepted()
    clock.advance(HOUR - 1)
    assert one.note_refusal("a") is THEIRS
    clock.advance(2)
    assert one.note_refusal("a") is DOUBTFUL


def test_a_mailer_that_goes_on_accepting_mail_is_known_to(make: Make, clock: Clock) -> None:
    """Its workers say so again while they send."""
    one = make()
    for _ in range(5):
        one.note_accepted()
        clock.advance(HOUR / 2)
    assert one.note_refusal("a") is THEIRS


@pytest.mark.parametrize(
    ("trouble", "later"), [(Misconfigured("535 no"), DOUBTFUL), (ServerTrouble("421"), THEIRS)]
)
def test_our_own_mistake_makes_all_uncertain_again(trouble, later, make: Make) -> None:
    """What is set has changed, or has to; a server in trouble is the same as before."""
    one = make()
    one.note_accepted()
    one.note_failure(trouble)
    assert one.note_refusal("a") is later
    one.note_accepted()  # which is said at once
    assert one.note_refusal("a") is THEIRS


def test_without_bdat_for_an_hour(make: Make, clock: Clock) -> None:
    """Every worker knows of a server that can't do it, whether or not it is in trouble."""
    one, other = make(), make()
    assert one.ask().chunks
    one.note_no_chunks()
    other.note_failure(ServerTrouble("421"))
    assert (other.look().chunks, one.ask().chunks) == (False, False)
    other.note_success()
    clock.advance(HOUR - 1)
    assert not other.ask().chunks
    clock.advance(2)
    assert other.ask().chunks


def test_that_mail_is_accepted_costs_no_message_a_round_trip(client, clock) -> None:
    """It is said once a minute."""
    one = SharedBreaker(client, "m", clock=lambda: clock.seconds)
    key = "mailqueue:{mailer:m}:breaker:accepted"
    one.note_accepted()
    assert client.delete(key)
    clock.advance(59)
    one.note_accepted()
    assert not client.exists(key)
    clock.advance(1)
    one.note_accepted()
    assert client.exists(key)


def test_what_one_mailer_refuses_says_nothing_of_another(client, clock) -> None:
    """Each has its own settings."""
    first, second = (SharedBreaker(client, name, clock=lambda: 0.0) for name in ("m", "n"))
    first.note_no_chunks()
    assert [first.note_refusal(id_) for id_ in "abc"][-1] is OURS
    assert second.note_refusal("d") is DOUBTFUL
    assert second.ask().chunks
