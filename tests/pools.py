"""Celery's pools, for tests that hold in each of them."""

from __future__ import annotations

import pytest

POOLS = ("prefork", "threads", "gevent", "solo")


def _first_of(*pools: str) -> pytest.MarkDecorator:
    """`make test` runs the first, `make test-all` the others too."""
    others = [pytest.param(pool, marks=pytest.mark.long) for pool in pools[1:]]
    return pytest.mark.parametrize("pool", [pools[0], *others])


EACH_POOL = _first_of(*POOLS)
# Those whose worker is one process, which a test can stop or kill as a whole.
ONE_PROCESS = _first_of("solo", "threads", "gevent")
