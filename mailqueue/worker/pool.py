"""Whether tasks get on in the worker's pool."""

from __future__ import annotations

import logging
import socket
import sys
from typing import Any

_log = logging.getLogger(__name__)


def check_pool(instance: Any, **_: Any) -> None:
    """Refuse to start with greenlets that would never run.

    They run while something waits, by the sockets of gevent. Celery puts these in the place of
    Python's before anything else is imported, and by then knows only its arguments.
    """
    if not instance.pool.is_green:
        return
    if socket.socket.__module__ == socket.__name__:
        sys.exit(
            "mailqueue: the pool would run no task, since it was chosen too late to replace "
            "Python's sockets. Start the worker with --pool=gevent: neither -Pgevent, in one word, "
            "nor the option worker_pool is early enough"
        )
    if type(instance.pool).__module__.endswith("eventlet"):
        _log.warning("the pool eventlet is not supported, and not tested with mail: use gevent")
