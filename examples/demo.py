"""`make demo`: mail through the whole system, on the embedded server, and the fate of each message.

It starts `mailqueue up`, runs the ordinary program `newsletter.py` against it, watches the queue
drain, and prints what became of every message.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from mailqueue.conf import home
from mailqueue.monitor import report, text

EXPECTED = Counter(sent=204, failed=1)
PATIENCE = 60.0  # seconds for the queue to drain
ENVIRONMENT = {
    "EMAIL_BACKEND": "mailqueue.backends.queue.EmailBackend",
    # Production waits a minute before the second attempt; a demonstration must not.
    "MAILQUEUE_RETRY": "2s, 5s, 10s",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="stay until Ctrl-C")
    arguments = parser.parse_args()
    os.environ.update(ENVIRONMENT)
    with running_system() as log:
        print("\nmailqueue is up" + log.read_text().partition("mailqueue is up")[2])
        before, started = delivered(), datetime.now(UTC)
        say("sending: examples/newsletter.py")
        newsletter = Path(__file__).with_name("newsletter.py")
        subprocess.run([sys.executable, newsletter], check=True)
        watch(started)
        ok = show_fates(started, delivered() - before)
        if arguments.keep:
            say("still running; Ctrl-C stops it")
            wait_for_interrupt()
    say("stopped, nothing is left running")
    return 0 if ok else 1


@contextmanager
def running_system():
    """`mailqueue up` in the background, with the worker of the package `workers`."""
    home().mkdir(mode=0o700, parents=True, exist_ok=True)
    log = home() / "up.log"
    command = [sys.executable, "-m", "mailqueue", "up", "--app", "workers", "--inbox-port", "0"]
    say("starting: mailqueue up (embedded Valkey, Celery worker, inbox)")
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--loglevel", "ERROR"],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=Path(__file__).parents[1],
            env={**os.environ, "MAILQUEUE_HOME": str(home())},
            start_new_session=True,  # Ctrl-C is for this program, which then stops that one
        )
    try:
        wait_until(lambda: "mailqueue is up" in log.read_text() or process.poll() is not None, 40)
        if process.poll() is not None:
            sys.exit(f"`mailqueue up` ended with status {process.returncode}:\n{log.read_text()}")
        yield log
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(90)


def watch(started: datetime) -> None:
    """Show how the queue drains, until each message has come to its end."""

    def drained() -> bool:
        states = Counter(message["state"] for message in messages_since(started))
        line = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        if line != shown[0]:
            say(line)
            shown[0] = line
        return states == EXPECTED

    shown = [""]
    wait_until(drained, PATIENCE)


def messages_since(started: datetime) -> list[dict]:
    """The messages of this run; the journal may still hold those of earlier ones."""
    found = report.find(report.Filter())
    return [m for m in found if datetime.fromisoformat(m["created"]) >= started]


def show_fates(started: datetime, delivered_now: int) -> bool:
    """Print the table; tell whether everything came out as it should."""
    fates = sorted(messages_since(started), key=lambda m: (m["state"], m["updated"]))
    print()
    print(text.messages(fates))
    print()
    say(f"{delivered_now} messages lie in {home() / 'Maildir'}")
    states = Counter(message["state"] for message in fates)
    twice = [m for m in fates if m["state"] == "sent" and m["attempts"] > 1]
    ok = states == EXPECTED and delivered_now == EXPECTED["sent"] and len(twice) == 1
    say("as expected" if ok else f"NOT as expected: {dict(states)}, {len(twice)} sent late")
    return ok


def delivered() -> int:
    """How many messages lie in the inbox."""
    return sum(1 for _ in (home() / "Maildir" / "new").glob("*"))


def wait_until(condition, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.2)


def wait_for_interrupt() -> None:
    try:
        signal.pause()
    except KeyboardInterrupt:
        print()


def say(line: str) -> None:
    print(f"demo: {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
