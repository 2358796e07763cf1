"""Why a server that answers takes no writes, and what to do about it."""

from __future__ import annotations

from typing import NamedTuple

import redis


class Obstacle(NamedTuple):
    """What keeps a server from being written to.

    ``state`` is one word or two for it, such as ``full``. ``reason`` and ``remedy`` go on from the
    server's name: "the journal at … " ``reason`` ": " ``remedy``.
    """

    state: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.remedy}"


# By the first word of the server's reply; see `shared` in Redis' server.c, and Valkey's.
_OBSTACLES = {
    "OOM": Obstacle(
        "full",
        "is full, and takes no writes",
        "raise its maxmemory, or have less kept (KEEP_SENT, KEEP_FAILED, `mailqueue purge`)",
    ),
    "READONLY": Obstacle(
        "replica",
        "is a read-only replica",
        "name its primary, by a DNS name that follows a failover",
    ),
    "MISCONF": Obstacle(
        "read-only",
        "can't write to its disk, and takes no writes",
        "see its log, and give it room on the disk or the right to write there",
    ),
    "NOREPLICAS": Obstacle(
        "short of replicas",
        "has fewer replicas than its min-replicas-to-write, and takes no writes",
        "bring its replicas back, or lower min-replicas-to-write",
    ),
    "MASTERDOWN": Obstacle(
        "replica",
        "is a replica without its primary",
        "name its primary, by a DNS name that follows a failover",
    ),
    "CLUSTERDOWN": Obstacle(
        "read-only",
        "belongs to a cluster that is down, and takes no writes",
        "bring the cluster back",
    ),
    "LOADING": Obstacle(
        "loading",
        "is still loading its data",
        "wait until it has; its log says how far it is",
    ),
    "BUSY": Obstacle(
        "busy",
        "is busy with a script of somebody else's",
        "end that by SCRIPT KILL, or wait for it",
    ),
}


def obstacle_in(error: redis.RedisError) -> Obstacle | None:
    """What the server's reply says of its condition; None where it is of something else."""
    code = getattr(error, "status_code", None) or str(error).partition(" ")[0]
    return _OBSTACLES.get(code)
