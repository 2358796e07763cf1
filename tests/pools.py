"""Celery's pools, for tests that hold in each of them."""

from __future__ import annotations

import pytest

POOLS = ("prefork", "threads", "gevent", "solo")
# `make test` runs what holds in each pool in the usual one, `make test-all` in the others too.
EACH_POOL = pytest.mark.parametrize(
    "pool", ["prefork", *(pytest.param(name, marks=pytest.mark.long) for name in POOLS[1:])]
)
