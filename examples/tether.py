"""Runs another Python program for as long as the one that started it lives.

`python tether.py -m module …` or `python tether.py program.py …`, with a pipe as standard input.
When the pipe's other end closes, which it also does when the starter is killed, the program gets
SIGTERM. So nothing that a demonstration has started outlives it.
"""

import os
import runpy
import signal
import sys
import threading
from pathlib import Path


def main() -> None:
    lifeline = os.dup(sys.stdin.fileno())
    os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())
    threading.Thread(target=end_with, args=[lifeline], daemon=True).start()
    del sys.argv[0]
    if sys.argv[0] == "-m":
        del sys.argv[0]
        sys.path[0] = str(Path.cwd())
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = str(Path(sys.argv[0]).absolute().parent)
        runpy.run_path(sys.argv[0], run_name="__main__")


def end_with(lifeline: int) -> None:
    os.read(lifeline, 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
