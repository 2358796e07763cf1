"""The flag by which a worker's processes know that it is to stop."""

from __future__ import annotations

import os

from mailqueue.worker.flag import Flag


def test_a_flag_is_set_for_all_that_share_it() -> None:
    """A parent sees what a forked child has set, until one of them takes it back."""
    flag = Flag()
    assert not flag.is_set()
    child = os.fork()
    if child == 0:
        flag.set()
        os._exit(0)
    os.waitpid(child, 0)
    assert flag.is_set()
    flag.clear()
    assert not flag.is_set()
