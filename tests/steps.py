"""A Valkey whose clock steps: libfaketime stands between it and the system's."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.servers import Valkey

_LIBRARIES = [*Path("/usr/lib").glob("*/faketime/libfaketime.so.1")]
NEEDS_FAKETIME = pytest.mark.needs(
    "faketime",
    missing="" if shutil.which("faketime") and _LIBRARIES else "no faketime on the PATH",
)


class SteppingValkey(Valkey):
    """Only the time of day steps; what the system counts from its start goes on evenly."""

    def __init__(self, directory: Path, **options: Any) -> None:
        self._offset = directory.with_suffix(".clock")
        self.step_to(0)
        super().__init__(directory, **options)

    def start(self, timeout: float = 10.0) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LD_PRELOAD", str(_LIBRARIES[0]))
            patch.setenv("FAKETIME_TIMESTAMP_FILE", str(self._offset))
            patch.setenv("FAKETIME_NO_CACHE", "1")
            patch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            super().start(timeout)

    def step_to(self, seconds: int) -> None:
        """Have its clock be that far ahead of the system's, at once."""
        new = self._offset.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.replace(self._offset)
