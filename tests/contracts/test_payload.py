"""What goes into the queue comes out of it: our classes here, Django's in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("family", ["mailqueue", "django"])
def test_any_message_survives_the_queue(family):
    """Property test: the same bytes and recipients for whatever hypothesis can build."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.contracts.roundtrip", family],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-6000:]
    assert "examples passed" in result.stdout
