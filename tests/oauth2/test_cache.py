"""When a token is asked for: once for all who wait, before it ends, and after it was refused."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mailqueue.errors import TokenUnavailable
from mailqueue.oauth2.cache import TokenCache, tokens
from mailqueue.oauth2.source import Source
from tests.support import wait_until

PATIENCE = 30.0


class Time:
    """A monotonic clock, and a wall clock that can be set apart from it."""

    def __init__(self) -> None:
        self.clock = 0.0
        self.today = datetime(2026, 11, 30, 12, tzinfo=UTC)

    def pass_(self, seconds: float) -> None:
        self.clock += seconds
        self.today += timedelta(seconds=seconds)

    def cache(self) -> TokenCache:
        return TokenCache(lambda: self.clock, lambda: self.today)


class Issuer:
    """Issues tokens that last an hour, unless it ``fails``."""

    def __init__(self, end: Callable[[], Any] = lambda: 3600) -> None:
        self.calls = 0
        self.fails = False
        self.end = end

    def __call__(self, *, alias: str | None, username: str) -> Any:
        self.calls += 1
        if self.fails:
            raise ConnectionError("nobody there")
        return f"token-{self.calls}", self.end()


def source(function: Any, username: str = "ann", **options: Any) -> Source:
    return Source("x.token", function, None, username, options)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def cache(time: Time) -> TokenCache:
    return time.cache()


def test_a_token_is_asked_for_once_and_again_before_it_ends(cache, time) -> None:
    """Five minutes before the end of an hour."""
    issuer = source(Issuer())
    assert cache.get(issuer, PATIENCE).text == "token-1"
    time.pass_(3299)
    assert cache.get(issuer, PATIENCE).text == "token-1"
    time.pass_(2)
    assert cache.get(issuer, PATIENCE).text == "token-2"
    assert issuer.function.calls == 2


def test_a_clock_that_is_set_moves_no_end(cache, time) -> None:
    """Neither a step ahead nor one back: what counts is the time that has passed."""
    issuer = source(Issuer(lambda: time.today + timedelta(hours=1)))
    cache.get(issuer, PATIENCE)
    time.today += timedelta(days=1)
    assert cache.get(issuer, PATIENCE).text == "token-1"
    time.today -= timedelta(days=2)
    time.pass_(3301)
    assert cache.get(issuer, PATIENCE).text == "token-2"


def test_a_token_that_was_refused_is_dropped_once(cache) -> None:
    """What another thread has got since then stays."""
    issuer = source(Issuer())
    old = cache.get(issuer, PATIENCE)
    cache.drop(issuer, old)
    new = cache.get(issuer, PATIENCE)
    cache.drop(issuer, old)
    assert cache.get(issuer, PATIENCE) is new
    assert issuer.function.calls == 2


def test_each_source_has_tokens_of_its_own(cache) -> None:
    """Another mailbox, or options that were changed; the same source made anew has the same."""
    issuer = Issuer()
    asked = [source(issuer), source(issuer, "bob"), source(issuer)]
    assert [cache.get(one, PATIENCE).text for one in asked] == ["token-1", "token-2", "token-1"]
    assert source(issuer, key="a").key != source(issuer, key="b").key


def test_an_issuer_that_is_away_is_an_error_with_its_reason(cache) -> None:
    """The next one asks again."""
    issuer = source(Issuer())
    issuer.function.fails = True
    for _ in range(2):
        with pytest.raises(TokenUnavailable) as raised:
            cache.get(issuer, PATIENCE)
    assert str(raised.value) == (
        "no OAuth2 token for ann from x.token: ConnectionError: nobody there"
    )
    assert raised.value.__cause__ is raised.value.__context__ is None
    issuer.function.fails = False
    assert cache.get(issuer, PATIENCE).text == "token-3"


def test_while_the_issuer_is_away_the_last_token_is_used_to_its_end(cache, time) -> None:
    """It is asked twice a minute meanwhile, and not for each connection."""
    issuer = source(Issuer())
    cache.get(issuer, PATIENCE)
    time.pass_(3301)
    issuer.function.fails = True
    assert [cache.get(issuer, PATIENCE).text for _ in range(3)] == ["token-1"] * 3
    assert issuer.function.calls == 2
    time.pass_(31)
    assert cache.get(issuer, PATIENCE).text == "token-1"
    assert issuer.function.calls == 3
    time.pass_(300)
    with pytest.raises(TokenUnavailable):
        cache.get(issuer, PATIENCE)


def test_a_token_that_is_used_a_little_longer_can_be_dropped(cache, time) -> None:
    """It is the same, whoever got it before the issuer was away."""
    issuer = source(Issuer())
    old = cache.get(issuer, PATIENCE)
    time.pass_(3301)
    issuer.function.fails = True
    assert cache.get(issuer, PATIENCE).text == "token-1"
    cache.drop(issuer, old)
    with pytest.raises(TokenUnavailable):
        cache.get(issuer, PATIENCE)


def test_one_request_is_made_at_a_time_and_all_wait_for_it(cache) -> None:
    """Twenty threads, one call."""
    go = threading.Event()

    def function(**_: object) -> tuple[str, int]:
        calls.append(threading.get_ident())
        assert go.wait(PATIENCE)
        return "abc", 3600

    calls: list[int] = []
    slow = source(function)
    with ThreadPoolExecutor(20) as pool:
        found = [pool.submit(cache.get, slow, PATIENCE) for _ in range(20)]
        wait_until(lambda: bool(calls), PATIENCE)
        go.set()
        assert {future.result().text for future in found} == {"abc"}
    assert len(calls) == 1


@pytest.mark.parametrize("is_asked_again", [True, False])
def test_nobody_waits_beyond_their_patience(is_asked_again, cache) -> None:
    """An issuer that says nothing is given up; what it says late is used if there is no newer."""
    go, calls = threading.Event(), []

    def function(**_: object) -> tuple[str, int]:
        calls.append(1)
        if len(calls) == 1:
            go.wait(PATIENCE)
            return "late", 3600
        return "newer", 3600

    slow = source(function)
    with pytest.raises(TokenUnavailable, match=r"no answer within 0\.05 seconds"):
        cache.get(slow, 0.05)
    if is_asked_again:
        assert cache.get(slow, PATIENCE).text == "newer"
    go.set()
    for thread in threading.enumerate():
        if thread.name == "mailqueue-oauth2":
            thread.join(PATIENCE)
    assert cache.get(slow, PATIENCE).text == ("newer" if is_asked_again else "late")
    assert len(calls) == (2 if is_asked_again else 1)


def test_the_function_sees_what_its_caller_has_overridden(cache) -> None:
    """It runs in a thread of its own, in a copy of the caller's context."""
    tenant = ContextVar("tenant", default="nobody's")
    tenant.set("contoso")
    assert cache.get(source(lambda **_: (tenant.get(), 60)), PATIENCE).text == "contoso"


def test_a_function_that_exits_ends_nobody_who_waits(cache) -> None:
    """SystemExit is a reason like any other."""

    def function(**_: object) -> None:
        raise SystemExit("enough")

    with pytest.raises(TokenUnavailable, match="SystemExit: enough"):
        cache.get(source(function), PATIENCE)


def test_a_fork_has_no_lock_that_nobody_will_release() -> None:
    """A child of a process that asks for a token asks for its own, and gets it."""
    begun, go, parent = threading.Event(), threading.Event(), os.getpid()

    def function(**_: object) -> tuple[str, int]:
        begun.set()
        assert os.getpid() != parent or go.wait(PATIENCE)
        return "abc", 3600

    forked = source(function)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(tokens.get, forked, PATIENCE)
        assert begun.wait(PATIENCE)
        lock = tokens._lock
        lock.acquire()  # as any thread of the parent's might have at that moment
        child = os.fork()
        if child == 0:
            signal.alarm(int(PATIENCE))  # else it would wait for the lock for ever
            os._exit(0 if tokens.get(forked, PATIENCE).text == "abc" else 1)
        lock.release()
        assert os.waitpid(child, 0)[1] == 0
        go.set()
        assert waiting.result().text == "abc"
