"""What a newcomer runs first."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_demo_ends_by_itself(tmp_path: Path) -> None:
    """205 messages come to the ends that they should, in under a minute; it says so and exits 0."""
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "demo.py"],
        env={**os.environ, "MAILQUEUE_HOME": str(tmp_path / "home")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "demo: as expected" in done.stdout
    assert len(list((tmp_path / "home" / "Maildir" / "new").iterdir())) == 204
