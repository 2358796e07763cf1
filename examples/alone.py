"""`alone.py LOCK COMMAND…`: run a command; a second one with the same lock waits, and says so.

For `make`, of which two at once would install into the same virtual environment. It runs on any
Python 3, before anything is installed.
"""

import fcntl
import subprocess
import sys
from contextlib import suppress
from pathlib import Path


def main(lock: str, *command: str) -> int:
    path = Path(lock)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    except OSError:  # where nothing can be written, nothing is installed either
        return subprocess.call(command)
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another make is installing here; waiting for it to end", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        return subprocess.call(command)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(main(*sys.argv[1:]))
    sys.exit(130)
