"""A flag that a worker's processes share, and that it is to stop."""

from __future__ import annotations

import mmap


class Flag:
    """A flag that processes forked from this one share; to look at it takes no lock."""

    def __init__(self) -> None:
        self._byte = mmap.mmap(-1, 1)

    def is_set(self) -> bool:
        """Whether it was set, here or in a related process."""
        return self._byte[0] != 0

    def set(self) -> None:
        """Set it for all."""
        self._byte[0] = 1

    def clear(self) -> None:
        """Take it back, for all."""
        self._byte[0] = 0


# Set in the worker's main process when it is to stop. The processes of its pool are forked from
# there and see it too: a batch looks at it several times a message.
stopping = Flag()
