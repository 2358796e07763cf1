"""Run the tests again and again from fresh clones, and write a table of how they end.

    python -m tests.tools.repeat test --times 5 --busy

Each run is a clone of HEAD in an empty directory, with a clean environment, and `make test` or
`make test-all` there. With ``--busy`` a loop for each core runs beside it. Every run adds a line to
the table as it ends, so that the runs may be spread over days.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[2]
COLUMNS = ["when (UTC)", "commit", "what", "loops", "load", "closing line", "tests", "exit"]
HEAD = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|"
SUMMARY = re.compile(r"=* ?((?:\d+ \w+,? ?)+) in ([\d.]+)s")


@contextmanager
def busy_cores(wanted: bool) -> Iterator[None]:
    """Keep every core busy with something else."""
    number = os.cpu_count() or 1 if wanted else 0
    loop = f"import os\nwhile os.getppid() == {os.getpid()}: pass"
    loops = [subprocess.Popen([sys.executable, "-c", loop]) for _ in range(number)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def clean_environment(home: Path) -> dict[str, str]:
    """What a new user has, and the settings of the package index."""
    kept = {name: text for name, text in os.environ.items() if name.startswith("PIP_")}
    return kept | {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8"}


def run(target: str, busy: bool, log: Path) -> str:
    """Make that target in a fresh clone; the line of the table.

    Its load is the system's average over the last five minutes of the run, the run's own included.
    """
    began = datetime.now(UTC)
    with tempfile.TemporaryDirectory() as name:
        clone, environment = Path(name) / "mailqueue", clean_environment(Path(name))
        subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
        commit = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=clone, capture_output=True, text=True
        ).stdout.strip()
        with log.open("w") as output:
            streams = {"stdout": output, "stderr": subprocess.STDOUT}
            install = ["make", ".venv/test.stamp"]
            subprocess.run(install, cwd=clone, env=environment, **streams)  # or the next one fails
            installed = time.monotonic()
            with busy_cores(busy):
                done = subprocess.run(["make", target], cwd=clone, env=environment, **streams)
        ended = time.monotonic()
    found = SUMMARY.findall(log.read_text())
    closing = found[-1][0] if found else "no closing line"
    cells = [
        f"{began:%Y-%m-%d %H:%M}",
        commit,
        f"`make {target}`",
        str(os.cpu_count() if busy else 0),
        f"{os.getloadavg()[1]:.1f}",
        closing,
        f"{ended - installed:.0f} s",
        str(done.returncode),
    ]
    return f"| {' | '.join(cells)} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", choices=["test", "test-all"])
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--busy", action="store_true", help="keep all cores busy with a loop")
    parser.add_argument("--table", type=Path, default=ROOT / "tests" / "tools" / "runs.md")
    parser.add_argument("--logs", type=Path, default=Path(tempfile.gettempdir()) / "test-runs")
    options = parser.parse_args()
    options.logs.mkdir(parents=True, exist_ok=True)
    if not options.table.exists():
        options.table.write_text(f"# How the tests ended\n\n{HEAD}\n")
    failed = 0
    for _ in range(options.times):
        log = options.logs / f"{options.target}-{datetime.now(UTC):%m%d-%H%M%S}.log"
        line = run(options.target, options.busy, log)
        with options.table.open("a") as table:
            table.write(f"{line}\n")
        print(line, flush=True)
        failed += not line.endswith("| 0 |")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
