"""An exception that comes from outside in the middle of a call: at a chosen point, or any time."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType

# In whose frames it comes: in a signal's handler it would come where one of these has been called,
# or where a function in C has returned.
_ROOMS = ("mailqueue", "redis", "kombu", "celery", "amqp", "vine")


class Outside(Exception):
    """What a time limit, a signal's handler or another thread raises in somebody's code."""


class Interruption:
    """Raises ``Outside`` at the point of that number; with none it counts the points.

    A soft time limit of Celery's is an Exception, too.
    """

    def __init__(self, at: int = -1) -> None:
        self.passed = 0
        self.where = ""
        self._at = at

    def during(self, call: Callable[[], object]) -> bool:
        """Make the call; return whether the exception came out of it."""
        sys.setprofile(self._look)
        try:
            call()
        except Outside:
            return True
        finally:
            sys.setprofile(None)
        return False

    def _look(self, frame: FrameType, event: str, _: object) -> None:
        if event not in ("call", "c_return") or not _is_theirs(frame):
            return
        self.passed += 1
        if self.passed - 1 == self._at:
            self.where = f"{frame.f_code.co_qualname}, {event}, line {frame.f_lineno}"
            raise Outside(self.where)


def _is_theirs(frame: FrameType) -> bool:
    if frame.f_globals.get("__name__", "").partition(".")[0] not in _ROOMS:
        return False
    found: FrameType | None = frame
    while found is not None:
        if found.f_code.co_name == "__del__":  # where Python itself catches what is raised
            return False
        found = found.f_back
    return True
