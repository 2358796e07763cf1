"""The tokens of a process: asked for once, used until shortly before their ends."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import replace
from datetime import UTC, datetime

from mailqueue.errors import TokenUnavailable

from .source import Source
from .token import Token

_ASK_AGAIN = 30.0  # seconds until an issuer in trouble is asked again while its last token is good


class TokenCache:
    """Tokens by their sources; of each source, one is asked for at a time.

    The function runs in a thread of its own, since nobody can say how long it takes: who waits for
    it stops in time, whatever it does. ``clock`` is the monotonic clock in seconds.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._clock = clock
        self._now = now
        self.reset()

    def reset(self) -> None:
        """Forget everything; in a fork's child, a lock may be held by a thread that isn't there."""
        self._lock = threading.Lock()
        self._tokens: dict[str, Token] = {}
        self._requests: dict[str, _Request] = {}

    def get(self, source: Source, patience: float) -> Token:
        """Return a token that is good for a while yet; wait at most that many seconds for it.

        While a new one can't be had, the last is returned until its end. Raises TokenUnavailable.
        """
        with self._lock:
            token = self._tokens.get(source.key)
            if token is not None and self._clock() < token.renew_at:
                return token
            request = self._requests.get(source.key)
            if request is None:
                request = _Request(self, source)
                request.start()  # first, as no thread may be left: nobody is to wait for none
                self._requests[source.key] = request
        found = request.wait(patience)
        if isinstance(found, Token):
            return found
        with self._lock:
            self._give_up(source, request)
            kept = self._put_off(source)
        if kept is None:
            raise TokenUnavailable(
                f"no OAuth2 token for {source.username} from {source.path}: {found}"
            )
        return kept

    def drop(self, source: Source, token: Token) -> None:
        """Forget that token, which was refused; a newer one stays."""
        with self._lock:
            kept = self._tokens.get(source.key)
            if kept is not None and kept.text == token.text:
                del self._tokens[source.key]

    def keep(self, source: Source, request: _Request, found: Token | str) -> None:
        """Take what a request has brought; what is late, only where there is nothing newer."""
        with self._lock:
            is_awaited = self._give_up(source, request)
            is_wanted = is_awaited or source.key not in self._tokens
            if isinstance(found, str) or not is_wanted:
                return
            now = self._clock()
            self._tokens = {k: token for k, token in self._tokens.items() if now < token.ends_at}
            self._tokens[source.key] = found

    def fetch(self, source: Source) -> Token | str:
        """Ask the source for a token, or for the reason why there is none."""
        return source.fetch(self._clock, self._now)

    def _give_up(self, source: Source, request: _Request) -> bool:
        """Let the next one ask anew; return whether this request was still waited for."""
        is_current = self._requests.get(source.key) is request
        if is_current:
            del self._requests[source.key]
        return is_current

    def _put_off(self, source: Source) -> Token | None:
        """Use the last token a little longer, if it has not ended."""
        token, now = self._tokens.get(source.key), self._clock()
        if token is None or now >= token.ends_at:
            return None
        if now >= token.renew_at:
            token = replace(token, renew_at=min(now + _ASK_AGAIN, token.ends_at))
            self._tokens[source.key] = token
        return token


class _Request:
    """One call of a token function, for all who wait for it."""

    def __init__(self, cache: TokenCache, source: Source) -> None:
        self._cache = cache
        self._source = source
        self._is_done = threading.Event()
        self._found: Token | str = ""

    def start(self) -> None:
        # With the caller's context: what it has overridden there holds for the function too.
        threading.Thread(
            target=copy_context().run, args=[self._run], name="mailqueue-oauth2", daemon=True
        ).start()

    def wait(self, patience: float) -> Token | str:
        if self._is_done.wait(patience):
            return self._found
        return f"no answer within {patience:g} seconds"

    def _run(self) -> None:
        self._found = self._cache.fetch(self._source)
        self._cache.keep(self._source, self, self._found)
        self._is_done.set()


tokens = TokenCache()
os.register_at_fork(after_in_child=tokens.reset)
