"""The decision after an attempt, as a table."""

import pytest

from mailqueue.delivery.outcome import Answer, Outcome, Verdict
from mailqueue.delivery.retry import RetryPolicy, decide
from mailqueue.queue.journal import Result, Settlement
from mailqueue.state import State

POLICY = RetryPolicy(delays=(60, 300), max_age=1000, doubt=3600)
OK, LATER, NEVER, DOUBT = Verdict.ACCEPTED, Verdict.DEFERRED, Verdict.REFUSED, Verdict.IN_DOUBT


def decided(answers, *, tries=1, age=0.0, earlier=(), policy=POLICY, chance=0.5) -> Settlement:
    """Decide for recipients a, b, … that were answered so, after others that ended earlier."""
    given = {chr(97 + n): Answer(v, f"reply {v}") for n, v in enumerate(answers)}
    before = {f"old{n}": Result(state, "then") for n, state in enumerate(earlier)}
    return decide(
        Outcome(given),
        before,
        [*before, *given],
        tries=tries,
        age=age,
        policy=policy,
        chance=chance,
    )


@pytest.mark.parametrize(
    ("answered", "earlier", "recipients", "state", "settled"),
    [
        (["a", "b"], [],         ["a", "b"],      State.SENT,     ["a", "b"]),
        (["a"],      [],         ["a", "b"],      State.RETRYING, ["a"]),  # b was not asked for
        (["a", "x"], [],         ["a", "b"],      State.RETRYING, ["a", "x"]),
        (["a", "x"], [],         ["a"],           State.SENT,     ["a", "x"]),
        (["b"],      ["a"],      ["a", "b"],      State.PARTIAL,  ["a", "b"]),  # a had failed
        (["b", "c"], ["a"],      ["b", "c"],      State.PARTIAL,  ["a", "b", "c"]),
    ],
)  # fmt: skip
def test_each_recipient_has_to_be_served(answered, earlier, recipients, state, settled):
    """Nobody counts for another, and what was on record before stays there."""
    found = decide(
        Outcome({recipient: Answer(OK, "250 Ok") for recipient in answered}),
        {recipient: Result(State.FAILED, "550 No") for recipient in earlier},
        recipients,
        tries=1,
        age=0.0,
        policy=POLICY,
        chance=0.5,
    )
    assert found.state is state
    assert sorted(found.results) == settled


@pytest.mark.parametrize(
    ("answers", "tries", "age", "earlier", "state", "delay"),
    [
        # one recipient
        ([OK],           1, 0,    [],              State.SENT,      None),
        ([LATER],        1, 0,    [],              State.RETRYING,  60),
        ([LATER],        2, 100,  [],              State.RETRYING,  300),
        ([LATER],        3, 500,  [],              State.FAILED,    None),  # schedule ended
        ([LATER],        2, 701,  [],              State.FAILED,    None),  # too old then
        ([LATER],        2, 700,  [],              State.RETRYING,  300),
        ([NEVER],        1, 0,    [],              State.FAILED,    None),
        ([DOUBT],        1, 0,    [],              State.UNCERTAIN, 3600),
        ([DOUBT],        3, 0,    [],              State.UNCERTAIN, None),  # for a person
        # several
        ([OK, OK],       1, 0,    [],              State.SENT,      None),
        ([OK, NEVER],    1, 0,    [],              State.PARTIAL,   None),
        ([OK, LATER],    1, 0,    [],              State.RETRYING,  60),
        ([OK, LATER],    3, 0,    [],              State.PARTIAL,   None),
        ([LATER, NEVER], 1, 0,    [],              State.RETRYING,  60),
        ([NEVER, NEVER], 1, 0,    [],              State.FAILED,    None),
        ([DOUBT, NEVER], 1, 0,    [],              State.UNCERTAIN, 3600),
        # after earlier attempts
        ([OK],           2, 60,   [State.SENT],    State.SENT,      None),
        ([OK],           2, 60,   [State.FAILED],  State.PARTIAL,   None),
        ([NEVER],        2, 60,   [State.SENT],    State.PARTIAL,   None),
        ([LATER],        2, 60,   [State.SENT],    State.RETRYING,  300),
        ([],             2, 60,   [State.SENT],    State.SENT,      None),  # nobody left
    ],
)  # fmt: skip
def test_the_table_of_decisions(answers, tries, age, earlier, state, delay):
    """What the recipients were answered, how often and how long it was tried, decide the state."""
    found = decided(answers, tries=tries, age=age, earlier=earlier)
    assert (found.state, found.delay) == (state, delay)


def test_each_recipient_keeps_the_reply_that_decided_about_it():
    """Those served or refused for good are on record; the one refused for now is still open."""
    found = decided([OK, LATER, NEVER])
    assert found.results == {
        "a": Result(State.SENT, "reply accepted"),
        "c": Result(State.FAILED, "reply refused"),
    }
    assert found.reply == "reply refused"


def test_a_recipient_refused_for_now_fails_with_its_last_reply_when_the_schedule_ends():
    """The reason on record is the server's last word, not ours."""
    assert decided([LATER], tries=3).results == {"a": Result(State.FAILED, "reply deferred")}


@pytest.mark.parametrize(("chance", "delay"), [(0.0, 54), (0.5, 60), (1.0, 66)])
def test_delays_are_spread_by_a_tenth(chance, delay):
    """A thousand messages refused at once don't come back at once."""
    assert decided([LATER], chance=chance).delay == pytest.approx(delay)


def test_in_doubt_may_wait_for_a_person():
    """Without a delay for doubt an uncertain message is never sent again by itself."""
    held = RetryPolicy(delays=(60,), max_age=1000, doubt=None)
    found = decided([DOUBT], policy=held)
    assert (found.state, found.delay) == (State.UNCERTAIN, None)
