"""What an operator does to messages: send them again, hold them, end them, remove them."""

from __future__ import annotations

from collections.abc import Sequence

from mailqueue.state import State

from .reader import Reader, ms
from .record import Policy, StateChange
from .replies import read_changes
from .rows import dump_results, read_results

_CHANGE_AT_ONCE = 500  # messages a call: keeps one call under a few milliseconds of server time


class Operator(Reader):
    """The messages of one queue, as an operator changes them. Raises what ``Reader`` raises."""

    policy: Policy

    def retry(self, ids: Sequence[str]) -> list[str]:
        """Queue messages again that failed or wait for their next try; return which ones.

        Recipients who were served are not tried again.
        """
        return [
            id_
            for start in range(0, len(ids), _CHANGE_AT_ONCE)
            for id_ in self._retry(ids[start : start + _CHANGE_AT_ONCE])
        ]

    def _retry(self, ids: Sequence[str]) -> list[str]:
        arguments: list[str | int] = [ms(self.policy.grace)]
        for id_, found in zip(ids, self._fields("results", ids), strict=True):
            seen = found or "{}"
            results = read_results(self.sealer.open(seen))
            served = {a: r for a, r in results.items() if r.state is State.SENT}
            arguments += [id_, seen, self.sealer.seal(dump_results(served))]
        return [str(id_) for id_ in self._call("retry", arguments)]

    def hold(self, ids: Sequence[str]) -> list[StateChange]:
        """Keep waiting messages from being sent until ``resume``; those in doubt too."""
        return self._change("hold", ids)

    def resume(self, ids: Sequence[str]) -> list[StateChange]:
        """Queue held messages; a scheduled one waits for its time, an uncertain one as before."""
        return self._change("resume", ids)

    def cancel(self, ids: Sequence[str]) -> list[StateChange]:
        """End messages that wait or are held, and drop their payloads.

        One that is ``sending`` or ``committing`` stays as it is. An uncertain one, which may have
        been sent, is not sent again.
        """
        return self._change("cancel", ids)

    def discard(self, ids: Sequence[str]) -> list[StateChange]:
        """Remove all trace of messages that are failed, partial, expired, held or uncertain.

        Whoever accepts such an id or its idempotency key again makes a new message of it.
        """
        return self._change("discard", ids)

    def _change(self, operation: str, ids: Sequence[str]) -> list[StateChange]:
        return [
            change
            for start in range(0, len(ids), _CHANGE_AT_ONCE)
            for change in read_changes(self._call(operation, ids[start : start + _CHANGE_AT_ONCE]))
        ]
