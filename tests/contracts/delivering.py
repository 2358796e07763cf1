"""A delivery in this process: from a real journal to a scripted server, without a worker."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from click.testing import CliRunner
from click.testing import Result as Invoked

from mailqueue import EmailMessage
from mailqueue.backends.smtp import EmailBackend
from mailqueue.cli.group import main
from mailqueue.delivery.batch import Item
from mailqueue.delivery.connection import Connection, Limits
from mailqueue.delivery.executor import Delivery
from mailqueue.delivery.retry import RetryPolicy
from mailqueue.delivery.smtp.transport import SmtpTransport
from mailqueue.queue import payload
from mailqueue.queue.journal import Entry, Journal, Record, Result, SettledClaim, Settlement
from mailqueue.state import State
from tests.contracts.journals import entry
from tests.scripted import ScriptedServer

POLICY = RetryPolicy(delays=(3600, 3600), max_age=86400, doubt=3600)
LAST_TRY = RetryPolicy(delays=(), max_age=86400, doubt=3600)
LIMITS = Limits(max_messages=1000, max_age=600, idle=30)


def letter(*to: str, body: str = "A letter") -> EmailMessage:
    return EmailMessage("Hello", body, "from@example.com", to or ("to@example.com",))


def post(journal: Journal, message: EmailMessage, id_: str = "m") -> str:
    """Have the journal accept the message under that id."""
    text = payload.dumps(message, id_)
    summary = payload.summary(message, message.recipients())
    journal.accept([Entry(id_, text, payload.digest(text), summary)])
    return id_


@contextmanager
def connected(
    server: ScriptedServer,
    *,
    limits: Limits = LIMITS,
    timeout: float | None = None,
    **options: Any,
) -> Iterator[Connection]:
    """A worker's connection to that server."""

    def opened() -> SmtpTransport:
        return SmtpTransport(EmailBackend(host="127.0.0.1", port=server.port), timeout)

    connection = Connection(opened, limits, **options)
    try:
        yield connection
    finally:
        connection.close()


def deliver(
    journal: Journal,
    connection: Connection,
    ids: Sequence[str] = ("m",),
    policy: RetryPolicy = POLICY,
    **options: Any,
) -> Counter[str]:
    """Deliver what a task names; return how many messages came to which state."""
    return Delivery(journal, connection, policy, worker="here", **options).run(map(Item, ids))


def record(journal: Journal, id_: str = "m") -> Record:
    (found,) = journal.read([id_])
    return found


def results(journal: Journal, id_: str = "m") -> dict[str, tuple[str, str]]:
    """What each recipient was answered, and what that came to."""
    found = record(journal, id_).results
    return {address: (result.state.value, result.reply) for address, result in found.items()}


def ended(journal: Journal, state: State, *ids: str) -> None:
    """Accept messages that come to such an end."""
    journal.accept([entry(id_) for id_ in ids])
    if state is State.CANCELLED:
        journal.cancel(ids)
        return
    served = {"b@x": Result(State.SENT, "250 ok")} if state is State.PARTIAL else {}
    claims, _ = journal.claim([(id_, "") for id_ in ids])
    journal.advance(
        [SettledClaim(claim, Settlement(state, "a reply", served)) for claim in claims], []
    )
    assert journal.counts()[state] == len(ids)


def command(*arguments: str) -> str:
    """What a command says that does well."""
    done = invoked(*arguments)
    assert done.exit_code == 0, done.output
    return done.output


def invoked(*arguments: str) -> Invoked:
    """A command, carried out in this process."""
    path = sys.path[:]
    try:
        return CliRunner().invoke(main, arguments)
    finally:
        sys.path[:] = path  # which the command line has begin with the working directory
