"""What is judged to be in the way of mail, from facts alone."""

from __future__ import annotations

import pytest

from mailqueue.monitor.judgement import (
    STUCK_AFTER,
    Facts,
    Mailer,
    Queue,
    problems,
    problems_of_workers,
)
from mailqueue.queue.journal import Beat, Pulse

TAKER = Beat("mail1:1", 0.5, ("mailqueue",), ("smtp",))
ELDER = Beat("mail0:1", 0.5)  # of an earlier version
CUT_OFF = Beat("mail2:1", 0.5, (), ("smtp",))
OTHER = Beat("mail3:1", 0.5, ("celery",), ("other",))
STILL = {"waiting": 7, "oldest": STUCK_AFTER}
ALARM = Mailer("smtp", alarm=True, reason="535 no", since=1)
AWAY = Mailer("smtp", alarm=False, reason="refused", since=STUCK_AFTER)


def facts(*beats: Beat, mailers=(), broker="", name="mailqueue", unsent=0, meant=True, **pulse):
    tasks = pulse.pop("tasks", None)
    queue = Queue(name, Pulse(list(beats), **pulse), unsent, meant, tasks)
    return Facts([queue], mailers, broker)


WELL = {
    "somebody takes": facts(TAKER),
    "an earlier version may take": facts(ELDER),
    "one of two takes": facts(CUT_OFF, TAKER),
    "nobody needs to take": facts(name="old", meant=False),
    "the oldest is young": facts(TAKER, waiting=7, oldest=STUCK_AFTER - 0.1),
    "a claim a moment ago": facts(TAKER, claimed=STUCK_AFTER - 0.1, settled=500, **STILL),
    "a result a moment ago": facts(TAKER, claimed=500, settled=STUCK_AFTER - 0.1, **STILL),
    "a result of long ago, and nothing waits": facts(TAKER, claimed=5000, settled=5000),
    "a server that takes its time": facts(TAKER, in_hand=1, longest=899),
    "an alarm of nobody's mailer": facts(OTHER, TAKER, mailers=[ALARM._replace(name="old")]),
    "an alarm of a mailer of who takes other queues": facts(
        OTHER, TAKER, mailers=[ALARM._replace(name="other")]
    ),
    "trouble, and nothing waits": facts(TAKER, mailers=[AWAY]),
    "young trouble": facts(TAKER, unsent=1, mailers=[AWAY._replace(since=STUCK_AFTER - 0.1)]),
}
UNWELL = {
    "nobody lives": (facts(), ["no worker takes from the queue 'mailqueue': start"]),
    "nobody takes what is there": (
        facts(OTHER, name="news", meant=False, unsent=2),
        ["'news', in which 2 messages wait: those that live take 'celery'"],
    ),
    "others take others": (facts(OTHER, CUT_OFF), ["those that live take 'celery'"]),
    "cut off": (facts(CUT_OFF), ["mail2:1 has no connection to its broker"]),
    "no broker": (facts(CUT_OFF, broker="can't be reached"), ["the broker can't be reached"]),
    "neither broker nor worker": (facts(broker="refused"), ["the broker", "no worker"]),
    "never claimed": (facts(TAKER, **STILL), ["none was ever claimed. mail1:1 has no task"]),
    "not claimed lately": (
        facts(TAKER, claimed=60, settled=61, tasks=3, **STILL),
        ["last claim was 60 s ago, the last result 61 s ago. 3 tasks wait in the broker"],
    ),
    "in hand and slow": (
        facts(TAKER, claimed=61, in_hand=8, longest=61, **STILL),
        ["mail1:1 has 8 in hand"],
    ),
    "in hand for ever": (facts(TAKER, in_hand=1, longest=900), ["is being sent since 900 s"]),
    "an alarm": (facts(TAKER, mailers=[ALARM]), ["that is our own mistake: 535 no"]),
    "an alarm, and who knows of whom": (facts(ELDER, mailers=[ALARM]), ["our own mistake"]),
    "an alarm, and mail stands still": (
        facts(TAKER, mailers=[ALARM], unsent=7, **STILL),
        ["that is our own mistake"],
    ),
    "trouble, and mail waits": (
        facts(TAKER, mailers=[AWAY], unsent=7, **STILL),
        ["the mailer smtp can't be used since 60 s: refused"],
    ),
    "no broker, and mail stands still": (facts(TAKER, broker="no", **STILL), ["the broker"]),
}


@pytest.mark.parametrize("case", WELL)
def test_nothing_is_in_the_way(case: str) -> None:
    """Where mail moves, or need not."""
    assert problems(WELL[case]) == []


@pytest.mark.parametrize("case", UNWELL)
def test_what_is_in_the_way_is_named_once(case: str) -> None:
    """A problem for each reason, and none for what only follows from it."""
    given, expected = UNWELL[case]
    found = problems(given)
    assert len(found) == len(expected), found
    for words, problem in zip(expected, found, strict=True):
        assert words in problem


def test_check_names_broker_and_mailers_by_themselves() -> None:
    """So that among the workers' problems there is neither, nor what follows from them."""
    assert problems_of_workers(facts(CUT_OFF, broker="refused", mailers=[ALARM])) == []
    assert problems_of_workers(facts(TAKER, mailers=[ALARM], **STILL)) == []
    (problem,) = problems_of_workers(facts(OTHER, mailers=[ALARM]))
    assert "those that live take 'celery'" in problem
