"""What becomes of recipients whom a server left for the next transaction."""

import pytest

from mailqueue.delivery.outcome import Answer, Outcome, Verdict
from mailqueue.delivery.retry import RetryPolicy, decide
from mailqueue.state import State

POLICY = RetryPolicy(delays=(60, 300), max_age=1000, doubt=3600)


def decided(*verdicts: Verdict, tries: int = 1):
    answers = {f"to{n}": Answer(verdict, "a reply") for n, verdict in enumerate(verdicts)}
    return decide(Outcome(answers), {}, [*answers], tries=tries, age=0.0, policy=POLICY, chance=0.5)


def test_a_next_transaction_begins_at_once_where_the_first_brought_something():
    """Those who were left are tried again without a wait, and nobody is given up for them."""
    found = decided(Verdict.ACCEPTED, Verdict.LEFT, tries=3)
    assert (found.state, found.delay, [*found.results]) == (State.QUEUED, 0.0, ["to0"])


@pytest.mark.parametrize("first", [Verdict.DEFERRED, Verdict.REFUSED])
def test_a_message_that_nobody_got_waits_for_those_left_too(first):
    """A server that refuses the message, and took some recipients only, isn't asked in a circle."""
    found = decided(first, Verdict.LEFT)
    assert (found.state, found.delay) == (State.RETRYING, 60)


def test_those_left_fail_with_the_schedule():
    """Where nobody got the message at the last try, those who were left fail with the others."""
    found = decided(Verdict.DEFERRED, Verdict.LEFT, tries=3)
    assert (found.state, len(found.results)) == (State.FAILED, 2)
