"""A bound on what a process keeps because it will be wanted again: by size, the oldest goes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SizedCache(Generic[K, V]):
    """Values by their keys, as many as fit into ``limit``; each value comes with its size.

    Threads may share it. What is larger than the whole is made each time and never kept.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: K, make: Callable[[], V], weigh: Callable[[V], int]) -> V:
        """Return the value for that key: the kept one, else the one that ``make`` returns."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                return found[0]
        value = make()  # without the lock: others needn't wait for it, and may make it too
        self._keep(key, value, weigh(value))
        return value

    @property
    def size(self) -> int:
        """The sizes of all that is kept."""
        return self._size

    def _keep(self, key: K, value: V, size: int) -> None:
        if size > self._limit:
            return
        with self._lock:
            _, before = self._kept.pop(key, (None, 0))
            self._kept[key] = value, size
            self._size += size - before
            while self._size > self._limit:
                _, (_, dropped) = self._kept.popitem(last=False)
                self._size -= dropped
