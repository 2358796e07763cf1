"""What becomes of a message after an attempt: a pure decision, returned as a value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mailqueue.queue.journal import Result, Settlement
from mailqueue.state import State

from .outcome import Answer, Outcome, Verdict

JITTER = (
    0.1  # each delay is spread by ±10 %, so that a thousand refused at once don't return at once
)
_SEVERITY = list(Verdict)  # the later, the worse


@dataclass(frozen=True)
class RetryPolicy:
    """When to try again. All times are in seconds.

    ``delays`` are the waits before the second, third, … attempt; ``max_age`` is how long a message
    is tried at all; ``doubt`` is the wait before a message whose reply never came is sent again
    (RFC 5321 6.1 puts loss above repetition), None for never.
    """

    delays: Sequence[float]
    max_age: float
    doubt: float | None


def decide(
    outcome: Outcome,
    earlier: Mapping[str, Result],
    recipients: Sequence[str],
    *,
    tries: int,
    age: float,
    policy: RetryPolicy,
    chance: float,
) -> Settlement:
    """Decide the message's next state from what its recipients were answered.

    ``earlier`` are the results on record from former attempts, ``recipients`` all of the message's
    recipients, ``tries`` the attempts including this one, ``age`` the seconds since the message was
    accepted, ``chance`` a number from 0 to 1 that picks the jitter.
    """
    served = _settlement_if_served(outcome, earlier, recipients)
    if served is not None:
        return served
    delay = _delay(tries, age, policy, chance)
    verdicts = [answer.verdict for answer in outcome.answers.values()]
    # The server took some recipients and wants the others in a next transaction.
    more = Verdict.LEFT in verdicts and Verdict.ACCEPTED in verdicts
    results = dict(earlier)
    for recipient, answer in outcome.answers.items():
        result = _result(answer, may_wait=more or delay is not None)
        if result is not None:
            results[recipient] = result
    state, wait = _final_state(results), None
    if Verdict.IN_DOUBT in verdicts:
        # Without a retry left it waits for a person, as with IN_DOUBT = "hold".
        state, wait = State.UNCERTAIN, policy.doubt if delay is not None else None
    elif more:
        state, wait = State.QUEUED, 0.0
    elif any(recipient not in results for recipient in recipients):
        state, wait = State.RETRYING, delay
    return Settlement(state, _telling_reply(outcome), results, wait, _replies(outcome))


def fail_rest(reason: str, earlier: Mapping[str, Result], recipients: Sequence[str]) -> Settlement:
    """The end of a message that no attempt can bring to those who don't have it yet."""
    results = dict.fromkeys(recipients, Result(State.FAILED, reason)) | dict(earlier)
    return Settlement(_final_state(results), reason, results)


def _settlement_if_served(
    outcome: Outcome, earlier: Mapping[str, Result], recipients: Sequence[str]
) -> Settlement | None:
    """The decision about nearly all messages: nobody was tried before, and all have it now.

    The next message waits for it, so nothing is computed here that only the others need.
    """
    answers = outcome.answers
    if earlier or not recipients or len(answers) != len(recipients):
        return None
    results = {}
    for recipient in recipients:
        answer = answers.get(recipient)
        if answer is None or answer.verdict is not Verdict.ACCEPTED:
            return None
        results[recipient] = Result(State.SENT, answer.reply)
    return Settlement(State.SENT, answers[recipients[0]].reply, results)


def _delay(tries: int, age: float, policy: RetryPolicy, chance: float) -> float | None:
    """Seconds until the next attempt, or None where the schedule or the age ends it."""
    if tries > len(policy.delays):
        return None
    delay = delay_before(tries, policy, chance)
    return delay if age + delay <= policy.max_age else None


def delay_before(tries: int, policy: RetryPolicy, chance: float = 0.5) -> float:
    """Seconds after so many tries until the next one; there is a delay for each of them."""
    return policy.delays[tries - 1] * (1 - JITTER + 2 * JITTER * chance)


def _result(answer: Answer, *, may_wait: bool) -> Result | None:
    if answer.verdict is Verdict.ACCEPTED:
        return Result(State.SENT, answer.reply)
    for_now = answer.verdict in (Verdict.DEFERRED, Verdict.LEFT)
    if answer.verdict is Verdict.REFUSED or (for_now and not may_wait):
        return Result(State.FAILED, answer.reply)
    return None


def _final_state(results: Mapping[str, Result]) -> State:
    sent = [result.state is State.SENT for result in results.values()]
    if not any(sent):
        return State.FAILED
    return State.SENT if all(sent) else State.PARTIAL


def _replies(outcome: Outcome) -> dict[str, str]:
    """The replies to those who didn't get it."""
    return {
        recipient: answer.reply
        for recipient, answer in outcome.answers.items()
        if answer.verdict is not Verdict.ACCEPTED
    }


def _telling_reply(outcome: Outcome) -> str:
    """The reply to show for the message: of the recipient who fared worst."""
    answers = outcome.answers.values()
    return max(answers, key=lambda a: _SEVERITY.index(a.verdict)).reply if answers else ""
