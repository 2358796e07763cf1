"""Named points at which a fault test kills the worker, to see what comes of the message in hand."""

from __future__ import annotations

import os
import signal

# The points, in the order in which a message passes them.
POINTS = ("mail", "rcpt", "data", "body", "commit", "dot", "reply", "settle")
VARIABLE = "MAILQUEUE_FAULT"
_chosen = os.environ.get(VARIABLE, "").removeprefix("kill-after:")


def reach(point: str) -> None:
    """Say that a point is reached; the process ends here if a test has chosen that point."""
    if point == _chosen:
        os.kill(os.getpid(), signal.SIGKILL)


def is_chosen() -> bool:
    """Whether a test has chosen any: then nothing may be written in one go that a point divides."""
    return bool(_chosen)
