"""How many examples property tests try: few and always the same ones, or many new ones."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, seed, settings

# As on a busy machine nothing is done in time.
_COMMON = {
    "deadline": None,
    "print_blob": True,
    "suppress_health_check": [HealthCheck.too_slow],
}


def register() -> None:
    """Register `few` for `make test`, `many` for `make test-all`, `long` for `make faults`.

    Loading one of them also takes back what Hypothesis chooses where it finds ``CI`` in the
    environment: the same examples each time, wherever they should be new ones.
    """
    settings.register_profile("few", max_examples=10, derandomize=True, **_COMMON)
    settings.register_profile("many", max_examples=100, derandomize=False, **_COMMON)
    settings.register_profile("long", max_examples=1000, derandomize=False, **_COMMON)


def of(config: pytest.Config) -> list[str]:
    """The profile of this run and its seed, or "": arguments for a process that runs a property."""
    chosen = config.getoption("hypothesis_seed")
    return [config.getoption("hypothesis_profile") or "few", "" if chosen is None else str(chosen)]


def load(profile: str, chosen: str = "") -> object:
    """Load the profile in such a process; return a decorator that sets the seed."""
    register()
    settings.load_profile(profile)
    return seed(int(chosen)) if chosen else lambda test: test
