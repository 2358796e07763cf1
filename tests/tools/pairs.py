"""Every version of Django composes, and every version delivers.

``python -m tests.tools.pairs DIRECTORY 4.2=python3.11 5.2=python3.12 …`` makes a virtual
environment for each in the directory, and says what differs. What Django itself can't do is left
out: to print text in eight bits that isn't UTF-8, which its console does not since 6.0.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from mailqueue.testing import RecordingServer
from tests.queue import pairs


def environment(directory: Path, version: str, python: str) -> str:
    """The interpreter of an environment with that Django; it is made if need be."""
    found = directory / f"django-{version}" / "bin/python"
    if not found.exists():
        subprocess.run([python, "-m", "venv", found.parents[1]], check=True)
        wanted = [f"django=={version}.*", "django-anymail", "--editable", f"{pairs.ROOT}[inbox]"]
        subprocess.run([found, "-m", "pip", "install", "--quiet", *wanted], check=True)
    return str(found)


def main(directory: str, *versions: str) -> None:
    """Try all pairs."""
    named = dict(given.split("=") for given in versions)
    pythons = {v: environment(Path(directory), v, python) for v, python in named.items()}
    composed = {
        f"{family} {version}": pairs.composed_by(python, family, version)
        for version, python in pythons.items()
        for family in pairs.COMPOSERS
    }
    tried, found = 0, []
    for version, python in pythons.items():
        for worker in pairs.WORKERS:
            with ExitStack() as stack:
                servers = {b: stack.enter_context(RecordingServer()) for b in pairs.SMTP}
                delivered = pairs.delivered(python, worker, composed, servers)
            tried += sum(len(messages) for messages in composed.values()) * len(delivered)
            found += list(_differences(composed, delivered, f"{worker} {version}"))
    sys.stdout.write("".join(f"{line[:1000]}\n" for line in found))
    sys.exit(f"{len(found)} of {tried} differ" if found else f"{tried} delivered, none differs")


def _differences(composed: Any, delivered: Any, worker: str) -> Iterator[str]:
    for composer, messages in composed.items():
        for backend, results in delivered.items():
            for line in pairs.differences(messages, results):
                yield f"{composer} > {worker} > {backend}: {line}"


if __name__ == "__main__":
    main(*sys.argv[1:])
