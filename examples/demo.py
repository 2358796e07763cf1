"""`make demo`: mail through the whole system, on the embedded server, and the fate of each message.

It starts `mailqueue up`, runs the ordinary program `newsletter.py` against it, watches the queue
drain, and prints what became of every message. Whatever ends it, also `kill -9`, ends all of it.
What an interrupted run left in the queue goes out with the next one, which doesn't count it.
"""

import argparse
import fcntl
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).resolve().parent
EXPECTED = Counter(sent=204, failed=1)
PATIENCE = 60.0  # seconds for the queue to drain
START_PATIENCE = 60.0  # seconds for `mailqueue up`
STOP_PATIENCE = 90.0  # seconds; a worker has 60 to finish the message in hand
ENVIRONMENT = {
    "EMAIL_BACKEND": "mailqueue.backends.queue.EmailBackend",
    # Production waits a minute before the second attempt; a demonstration must not.
    "MAILQUEUE_RETRY": "2s, 5s, 10s",
}
UP = ["-m", "mailqueue", "up", "--app", "workers", "--inbox-port", "0", "--loglevel", "ERROR"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="stay until Ctrl-C")
    parser.add_argument(
        "--patience", type=float, default=20.0, help="seconds for an earlier run to end"
    )
    arguments = parser.parse_args()
    end_in_order_on(signal.SIGTERM, signal.SIGHUP)
    try:
        return demonstrate(arguments.keep, arguments.patience)
    except KeyboardInterrupt:
        say("interrupted; what was queued goes out with the next run")
        return 128 + signal.SIGINT


def demonstrate(keep: bool, patience: float) -> int:
    # Imported here, because Ctrl-C while they load should show no traceback either.
    import fates  # noqa: PLC0415

    from mailqueue.conf import home  # noqa: PLC0415

    prepare_home()
    # An address of its own tells this run's mail from what earlier ones left behind.
    address = f"news-{secrets.token_hex(4)}@example.com"
    sender = f"The Newsletter <{address}>"
    os.environ.update(ENVIRONMENT, DEFAULT_FROM_EMAIL=sender)
    with alone(home()), running_system(home() / "up.log", patience) as check:
        if left := fates.waiting():
            say(f"{left} messages of an earlier run are still queued; they go out as well")
        say("sending: examples/newsletter.py")
        run_newsletter()
        watch(lambda: fates.of_run(sender), check)
        found = fates.of_run(sender)
        copies = fates.delivered(home() / "Maildir", address)
        print(f"\n{fates.table(found)}\n")
        command = os.path.relpath(Path(sys.executable).with_name("mailqueue"))
        say(f"`{command} list` shows each of them, `{command} show ID` all about one")
        say(f"{copies.total()} messages of this run lie in {home() / 'Maildir'}")
        ok = is_as_expected(found, copies)
        if keep:
            say("still running; Ctrl-C stops it")
            with suppress(KeyboardInterrupt):
                while True:
                    check()
                    time.sleep(0.5)
    say("stopped, nothing is left running")
    return 0 if ok else 1


def prepare_home() -> None:
    """Have a directory for all that the demo keeps; elsewhere, where a checkout is read-only."""
    from mailqueue.conf import home  # noqa: PLC0415

    chosen = home()
    try:
        chosen.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(chosen, os.W_OK | os.X_OK):
            raise PermissionError(f"{chosen} can't be written")
    except OSError as error:
        chosen = Path(tempfile.mkdtemp(prefix="mailqueue-demo-"))
        say(f"{error}: the demo keeps its data in {chosen}, and leaves it there")
    os.environ["MAILQUEUE_HOME"] = str(chosen)
    os.environ["MAILQUEUE_SPOOL_DIR"] = str(chosen / "spool")


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Wait for the end of another demo in the same place."""
    with (directory / "demo.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another demo runs here; waiting for it to end, Ctrl-C gives up")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def running_system(log: Path, patience: float) -> Iterator[Callable[[], None]]:
    """`mailqueue up`, with the worker of the package `workers`; yields what checks that it runs.

    For ``patience`` seconds it waits for the `mailqueue up` of a killed run to end.
    """
    say("starting: mailqueue up (embedded Valkey, Celery worker, inbox)")
    deadline = None
    while True:
        with log.open("w") as output, tethered(*UP, output=output) as process:
            wait_until_up(process, log)
            text = log.read_text()
            owned = process.poll() is not None and "belongs to the running process" in text
            if not owned or (deadline and time.monotonic() > deadline):

                def check() -> None:
                    if process.poll() is not None:
                        text = log.read_text()
                        sys.exit(f"`mailqueue up` ended with status {process.returncode}:\n{text}")

                check()
                print("\nmailqueue is up" + text.partition("mailqueue is up")[2])
                yield check
                return
        if deadline is None:
            say("another `mailqueue up` runs here; waiting for it to end")
            deadline = time.monotonic() + patience
        time.sleep(1)


def wait_until_up(process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + START_PATIENCE
    while process.poll() is None and "mailqueue is up" not in log.read_text():
        if time.monotonic() > deadline:
            sys.exit(f"`mailqueue up` is not up after {START_PATIENCE:.0f} s:\n{log.read_text()}")
        time.sleep(0.1)


@contextmanager
def tethered(*command: str | Path, output: Any = None) -> Iterator[subprocess.Popen]:
    """A Python program in the background, which ends with this one, however this one ends."""
    process = subprocess.Popen(
        [sys.executable, EXAMPLES / "tether.py", *command],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT if output else None,
        cwd=EXAMPLES.parent,
        start_new_session=True,  # Ctrl-C is for this program, which then stops that one
    )
    try:
        yield process
    finally:
        process.stdin.close()
        process.wait(STOP_PATIENCE)


def run_newsletter() -> None:
    with tethered(EXAMPLES / "newsletter.py") as process:
        if process.wait():
            sys.exit(f"newsletter.py ended with status {process.returncode}")


def watch(messages: Callable[[], list[dict]], check: Callable[[], None]) -> None:
    """Show how the queue drains, until each message has come to its end."""
    deadline, shown = time.monotonic() + PATIENCE, ""
    while time.monotonic() < deadline:
        check()
        states = Counter(message["state"] for message in messages())
        line = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        if line != shown:
            say(line)
            shown = line
        if states == EXPECTED:
            return
        time.sleep(0.2)


def is_as_expected(found: list[dict], copies: Counter) -> bool:
    """Whether each message has its end, each recipient one copy, and one took two attempts."""
    states = Counter(message["state"] for message in found)
    late = [m for m in found if m["state"] == "sent" and m["attempts"] > 1]
    once = len(copies) == copies.total() == EXPECTED["sent"]
    ok = states == EXPECTED and once and len(late) == 1
    say("as expected" if ok else f"NOT as expected: {dict(states)}, {len(late)} sent late")
    return ok


def end_in_order_on(*numbers: signal.Signals) -> None:
    """Let these signals end the program by way of its `finally` blocks, with 128 + the number."""

    def end(number: int, _: object) -> None:
        for one in numbers:
            signal.signal(one, signal.SIG_IGN)  # make passes on what a terminal has sent already
        sys.exit(128 + number)

    for number in numbers:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, end)


def say(line: str) -> None:
    print(f"demo: {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
