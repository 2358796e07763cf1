"""Who else uses the journal's database: what they flush, they flush with the mail in it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice
from typing import Any, NamedTuple

from redis.connection import parse_url

from mailqueue.conf.server import journal_url
from mailqueue.queue.broker import producer_app
from mailqueue.store.client import Client, translating_errors

_OURS = "mailqueue:"
# What kombu keeps in Redis, and how it names the list of a queue's tasks of a priority.
_KOMBUS = ("_kombu", "unacked")
_PRIORITY = "\x06\x16"
_BINDING = re.compile("(?<=^_kombu\\.binding\\.).*")
_LOOKED_AT, _SHOWN = 20_000, 3
_LOCAL = {"localhost", "127.0.0.1", "::1", ""}
ONE_DATABASE = (
    "broker and journal are one database, so that whoever flushes the broker (FLUSHDB, a purge by "
    "hand) takes the mail along: set MAILQUEUE['JOURNAL_URL'] and MAILQUEUE['BROKER_URL'] to two "
    "databases, such as …/0 and …/1 of one server"
)


class Neighbours(NamedTuple):
    """Names of others' keys in the journal's database: the broker's, and those of strangers."""

    broker: list[str]
    strangers: list[str]


def warnings_of_one_database() -> list[str]:
    """A warning where broker and journal are one database, by their addresses.

    Raises ImproperlyConfigured where the settings can't say where they are.
    """
    conf = producer_app().conf
    broker = _database(str(conf.broker_write_url or conf.broker_url))
    return [ONE_DATABASE] if broker is not None and broker == _database(journal_url()) else []


def warnings_of_neighbours(client: Client, queues: Iterable[str]) -> list[str]:
    """The same, and another one where others keep something in the journal's database."""
    found = look_for_neighbours(client, queues)
    warnings = warnings_of_one_database()
    if found.broker and not warnings:
        warnings.append(
            f"a broker keeps {_sample(found.broker)} in the journal's database, so that whoever "
            "flushes it takes the mail along: give it a database of its own. Where it has one, they"
            " are left from before: delete them"
        )
    if found.strangers:
        warnings.append(
            f"others keep {_sample(found.strangers)} in the journal's database: their cache.clear()"
            " or FLUSHDB would take the mail along. Give the journal a database of its own"
        )
    return warnings


def look_for_neighbours(client: Client, queues: Iterable[str]) -> Neighbours:
    """Look at a sample of the keys, the first of SCAN. Raises JournalUnavailable."""
    with translating_errors(client):
        keys = [str(key) for key in islice(client.scan_iter(count=1000), _LOOKED_AT)]
    others = sorted(key for key in keys if not key.startswith(_OURS))
    of_tasks = {*queues, *(found[0] for key in others if (found := _BINDING.search(key)))}
    brokers = [
        key for key in others if key.startswith(_KOMBUS) or key.partition(_PRIORITY)[0] in of_tasks
    ]
    return Neighbours(brokers, [key for key in others if key not in brokers])


def _sample(keys: list[str]) -> str:
    shown = ", ".join(repr(key) for key in keys[:_SHOWN])
    return f"{shown} and {len(keys) - _SHOWN} more keys" if len(keys) > _SHOWN else shown


def _database(url: str) -> tuple[Any, ...] | None:
    """What is the same for two URLs of one database; None for what is no Redis."""
    scheme, _, rest = url.split(";")[0].partition("://")  # of several, kombu begins with the first
    if scheme == "redis+socket":
        scheme, rest = "unix", rest.replace("virtual_host=", "db=")
    try:
        found = parse_url(f"{scheme}://{rest}")  # type: ignore[no-untyped-call]
    except ValueError:
        return None
    host, database = found.get("host", ""), int(found.get("db", 0))
    if "path" in found:
        return found["path"], database
    return "" if host in _LOCAL else host, found.get("port", 6379), database
