"""mailqueue beside its peers, in one run: run it with `make bench`.

`make bench BENCH_ARGS="--quick"` only shows that everything works; `--only list` measures one
scenario (`--list` names them), `--rounds 5` more often. `--before CHECKOUT` measures mailqueue
beside another version of it, which lies there with a virtual environment of its own. A run of
everything rewrites the tables in `docs/performance.md` and the chart beside it; with `--write`,
another run does too. The exit status is 1 where a message was lost, came twice or came wrong, and
with `--strict` where a target is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks.chart import chart
from benchmarks.postfix import find_smtp_sink
from benchmarks.process import ROOT, end_orderly
from benchmarks.race import collected, run
from benchmarks.result import Measurement, Results
from benchmarks.scenario import SCENARIOS, Scenario
from benchmarks.table import tables
from benchmarks.target import targets

_DOCUMENT, _CHART = ROOT / "docs" / "performance.md", ROOT / "docs" / "performance.svg"
_BEGIN, _END = "<!-- make bench writes from here", "<!-- to here -->"
_TITLES = {scenario.key: scenario.title for scenario in SCENARIOS}


def main() -> None:
    """Measure, print, write."""
    end_orderly()
    options = arguments()
    scenarios = chosen(options.only, quick=options.quick)
    if options.before:
        scenarios = [replace(one, before=options.before.absolute()) for one in scenarios]
    if options.list:
        print(*(f"{scenario.key:<12} {scenario.title}" for scenario in scenarios), sep="\n")
        return
    if options.render:
        results, where = loaded(options.render)
    else:
        where = circumstances(options.rounds)
        results = measured(scenarios, options)
        save(options.json, results, where)
    report = f"{where}\n\n{tables(results, _TITLES)}\n"
    found = list(targets(results))
    print(f"\n{report}", "Targets:", *found, sep="\n")
    if options.write or not (options.quick or options.only or options.before):
        write(report, results)
    good = all(found.is_good for found in results.measurements)
    if options.quick:
        print("QUICK: a twentieth of the messages, to see that everything works; no figure counts")
    print(f"{'PASS: every' if good else 'FAIL: not every'} message arrived once and whole")
    sys.exit(not good or (options.strict and not all(target.is_met for target in found)))


def arguments() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few messages, one round")
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument("--list", action="store_true", help="name the scenarios")
    parser.add_argument("--rounds", type=int, default=0, help="3, or 1 with --quick")
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="another version of ours")
    parser.add_argument("--strict", action="store_true", help="fail where a target is missed")
    parser.add_argument("--write", action="store_true", help="rewrite docs/performance.md")
    parser.add_argument("--json", type=Path, default=ROOT / "build" / "benchmarks.json")
    parser.add_argument("--render", type=Path, metavar="JSON", help="measure nothing: write that")
    peers = ROOT / ".venv-bench" / "bin" / "python"
    parser.add_argument("--peers", type=Path, default=peers, help="a Python that has the peers")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 3)
    return options


def chosen(only: Sequence[str], *, quick: bool) -> list[Scenario]:
    """The scenarios that are asked for, by default all."""
    unknown = set(only) - _TITLES.keys()
    if unknown:
        sys.exit(f"no such scenario: {', '.join(sorted(unknown))}; --list names them")
    found = [scenario for scenario in SCENARIOS if not only or scenario.key in only]
    return [scenario.quick() for scenario in found] if quick else found


def measured(scenarios: Sequence[Scenario], options: argparse.Namespace) -> Results:
    """Run the scenarios in a directory that is thrown away."""
    with tempfile.TemporaryDirectory(prefix="bench") as name:
        directory = Path(name)
        directory.chmod(0o711)  # smtp-sink gives up root's rights
        return collected(run(scenarios, options.rounds, directory, options.peers.absolute()))


def save(path: Path, results: Results, where: str) -> None:
    """Keep every run."""
    runs = [asdict(found) | {"rate": found.rate} for found in results.measurements]
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"circumstances": where, "runs": runs}, indent=1) + "\n")


def loaded(path: Path) -> tuple[Results, str]:
    """What was kept."""
    content = json.loads(path.read_text())
    for found in content["runs"]:
        del found["rate"]
    return Results(Measurement(**found) for found in content["runs"]), content["circumstances"]


def circumstances(rounds: int) -> str:
    """Where and with what it is measured."""
    command = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    server = "Postfix's `smtp-sink`" if find_smtp_sink() else "the sink of our own"
    return (
        f"Medians of {rounds} rounds; {os.cpu_count()} cores, {platform.system()}, "
        f"Python {platform.python_version()}, commit {commit or 'unknown'}, "
        f"load average {os.getloadavg()[0]:.1f} before the run. "
        f"Without a distance the server is {server}, if nothing else is said."
    )


def write(report: str, results: Results) -> None:
    """Put tables and chart where readers find them."""
    text = _DOCUMENT.read_text("utf-8")
    pattern = f"({re.escape(_BEGIN)}.*?-->\n).*?({re.escape(_END)})"
    new = re.sub(pattern, lambda m: f"{m[1]}\n{report}\n{m[2]}", text, flags=re.S)
    _DOCUMENT.write_text(new, "utf-8")
    _CHART.write_text(chart(results, _TITLES), "utf-8")


if __name__ == "__main__":
    main()
