"""Break the code on purpose, a little at a time, and see whether the tests find it.

::

    python -m tests.tools.mutate                     the whole table, each by its likely tests
    python -m tests.tools.mutate --only retry        those whose path or text has that in it
    python -m tests.tools.mutate --whole             where these find nothing, all tests
    python -m tests.tools.mutate --out found.json    go on where an earlier run ended

The table is in ``tests/tools/mutations``. The checkout is never changed: each mutation is made in a
copy of what git tracks. A test counts as the one that found it if it fails twice with the mutation,
and passes without.
The exit status is 1 where a mutation was not found, and the table doesn't say why, or where its
text isn't in the code any more.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from tests.support import ROOT
from tests.tools.mutations import MUTATIONS
from tests.tools.mutations.row import Mutation

FOUND, MISSED, REASON, ROTTEN, FLAKY = "found", "NOT FOUND", "reason", "ROTTEN", "FLAKY"
_SECONDS_FOR_A_TEST = 120
_SECONDS_FOR_ALL = 1800
_FIRST_FAILURE = re.compile(r"^(?:FAILED|ERROR) (tests/.+?)(?: - .*)?$", re.MULTILINE)
_sound: set[str] = set()  # tests that pass without a mutation
# So that the compiled code of an earlier mutation, of the same length and second, isn't taken.
_times = itertools.count(int(time.time()) + 1000)


class Verdict(NamedTuple):
    """What came of a mutation: how it was judged, by which test or for what reason, how soon."""

    kind: str
    text: str
    seconds: float = 0.0

    def __str__(self) -> str:
        if self.kind == FOUND:
            return f"found by {self.text} in {self.seconds:.0f} s"
        return f"{self.kind}: {self.text}" if self.text else self.kind


class Copy:
    """A copy of the checkout, for one mutation after the other."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for name in _git("ls-files", "-z").split("\0"):
            if name and (ROOT / name).is_file():
                target = directory / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, target)
                target.chmod((ROOT / name).stat().st_mode)
        self.run("git", "init", "--quiet")  # some tests ask which files there are
        self.run("git", "add", "--all")
        used = self.run(sys.executable, "-c", "import mailqueue; print(mailqueue.__file__)")
        if Path(used.strip()).parent != directory / "mailqueue":
            sys.exit(f"the tests would not see the copy in {directory}, but {used.strip()}")

    @contextmanager
    def mutated(self, mutation: Mutation) -> Iterator[None]:
        path = self.directory / mutation.path
        before = path.read_text("utf-8")
        try:
            _write(path, before.replace(mutation.old, mutation.new))
            yield
        finally:
            _write(path, before)

    def first_failure(self, tests: Sequence[str]) -> str:
        """The first test that fails, '' for none."""
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
        said = self.run(*command, f"--timeout={_SECONDS_FOR_A_TEST}", *tests)
        if not self.status:
            return ""
        found = _FIRST_FAILURE.search(said)
        return found[1] if found else f"({' '.join(said.split()[-20:])})"

    def run(self, *command: str) -> str:
        process = subprocess.Popen(
            command,
            cwd=self.directory,
            # First on the path, before what is installed from the checkout, for workers too.
            env={**os.environ, "PYTHONPATH": str(self.directory)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            said, _ = process.communicate(timeout=_SECONDS_FOR_ALL)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)  # it ends what it has started
            said, _ = process.communicate()
        self.status = process.returncode
        return said


def judged(mutation: Mutation, copy: Copy, whole: bool) -> Verdict:
    """Make the mutation, and look which test finds it."""
    if mutation.why:
        return Verdict(REASON, mutation.why)
    if not mutation.applies():
        return Verdict(ROTTEN, "its text isn't in the file just once")
    start = time.monotonic()
    with copy.mutated(mutation):
        test = copy.first_failure(mutation.tests)
        if not test and whole:
            test = copy.first_failure([])
        if test.startswith("("):  # no test failed, so that it may have been anything
            test = copy.first_failure(mutation.tests)
        is_chance = "::" in test and not copy.first_failure([test])
    seconds = time.monotonic() - start
    if not test:
        return Verdict(MISSED, "", seconds)
    if is_chance:
        return Verdict(FLAKY, f"{test} failed once, and not again", seconds)
    if test not in _sound:
        again = [test] if "::" in test else mutation.tests
        if copy.first_failure(again) and copy.first_failure(again):
            return Verdict(FLAKY, f"{test} fails without the mutation, too", seconds)
        _sound.add(test)
    return Verdict(FOUND, test, seconds)


class Report:
    """The verdicts so far, in a file where one is named: JSON, with a table in Markdown beside."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._verdicts: dict[str, Verdict] = {}
        if path and path.exists():
            earlier = json.loads(path.read_text("utf-8"))
            self._verdicts = {key: Verdict(*row) for key, row in earlier.items()}

    def known(self, mutation: Mutation) -> bool:
        """Whether it was judged, and is as it was then."""
        verdict = self._verdicts.get(mutation.key)
        return verdict is not None and verdict.kind == (REASON if mutation.why else FOUND)

    def add(self, mutation: Mutation, verdict: Verdict) -> None:
        _say(f"{mutation.path}: {mutation}: {verdict}")
        self._verdicts[mutation.key] = verdict
        if self._path is not None:
            self._path.write_text(json.dumps(self._verdicts, indent=1) + "\n", "utf-8")

    def finish(self, chosen: Sequence[Mutation]) -> int:
        """Say what it came to; return the exit status."""
        verdicts = [(m, self._verdicts[m.key]) for m in chosen if m.key in self._verdicts]
        kinds = Counter(verdict.kind for _, verdict in verdicts)
        _say(f"{len(verdicts)} mutations: {', '.join(f'{n} {kind}' for kind, n in kinds.items())}")
        if self._path is not None:
            rows = [f"| `{m.path}` | {_cell(m)} | {_cell(verdict)} |" for m, verdict in verdicts]
            table = ["| module | mutation | verdict |", "|---|---|---|", *rows]
            self._path.with_suffix(".md").write_text("\n".join(table) + "\n", "utf-8")
        return 1 if kinds.keys() - {FOUND, REASON} else 0


def _cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _write(path: Path, text: str) -> None:
    path.write_text(text, "utf-8")
    moment = next(_times)
    os.utime(path, (moment, moment))


def judge_all(chosen: Sequence[Mutation], report: Report, jobs: int, whole: bool) -> None:
    """Judge what isn't judged yet, ``jobs`` at a time, each in a copy of its own."""
    left = [mutation for mutation in chosen if not report.known(mutation)]
    with tempfile.TemporaryDirectory(prefix="mutations-") as directory:
        copies: queue.SimpleQueue[Copy] = queue.SimpleQueue()
        for number in range(min(jobs, len(left))):
            copies.put(Copy(Path(directory).resolve() / str(number)))

        def judge(mutation: Mutation) -> tuple[Mutation, Verdict]:
            copy = copies.get()
            try:
                return mutation, judged(mutation, copy, whole)
            finally:
                copies.put(copy)

        with ThreadPoolExecutor(jobs) as pool:
            try:
                for future in as_completed([pool.submit(judge, mutation) for mutation in left]):
                    report.add(*future.result())
            finally:
                pool.shutdown(cancel_futures=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.tools.mutate", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--only", default="", metavar="TEXT")
    parser.add_argument("--list", action="store_true", help="show the table, and judge nothing")
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--jobs", type=int, default=2, metavar="N")
    parser.add_argument("--out", type=Path, metavar="FILE")
    options = parser.parse_args()
    chosen = [m for m in MUTATIONS if options.only in f"{m.path}: {m}"]
    if options.list:
        for mutation in chosen:
            _say(f"{mutation.path}: {mutation}")
        return 0
    report = Report(options.out)
    with suppress(KeyboardInterrupt):
        judge_all(chosen, report, options.jobs, options.whole)
    return report.finish(chosen)


if __name__ == "__main__":
    sys.exit(main())
