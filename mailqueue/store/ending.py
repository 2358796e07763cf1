"""Import what redis-py needs at any time, also while the interpreter is ending."""

from __future__ import annotations

import threading
from importlib import import_module
from types import ModuleType


def import_threads() -> ModuleType:
    """Import the standard library's pool of threads, which redis-py imports for its clusters.

    At its import it asks to be called before threads end. When they have ended that is refused, so
    nobody could import redis-py any more. Nothing is left to be called for then: no pool of
    threads can begin. https://docs.python.org/3/library/concurrent.futures.html
    """
    try:
        return import_module("concurrent.futures.thread")
    except RuntimeError:
        register = threading._register_atexit  # type: ignore[attr-defined]
        threading._register_atexit = _register_nothing  # type: ignore[attr-defined]
        try:
            return import_module("concurrent.futures.thread")
        finally:
            threading._register_atexit = register  # type: ignore[attr-defined]


def _register_nothing(*_: object) -> None:
    pass
