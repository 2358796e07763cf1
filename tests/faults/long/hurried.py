"""The ready-made worker, with a journal whose waits are seconds.

A test can't wait an hour until a message in doubt is sent again, eleven minutes until a worker that
died after the dot is given up, a minute until a lost task is published anew. Nothing else differs.
"""

from __future__ import annotations

from functools import partial

from mailqueue.queue.journal import Policy, opening
from workers import app

__all__ = ["app"]

opening._DOUBT = 3.0
opening.Policy = partial(Policy, reply_wait=5.0, regrace=5.0)
