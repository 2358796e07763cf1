"""A delivery as a whole: a journal at its one end, a scripted server at its other.

What is between them is named here and nowhere else in the suite.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from mailqueue import EmailMessage
from mailqueue.delivery.batch import Item
from mailqueue.delivery.connection import Connection, Limits
from mailqueue.delivery.executor import Delivery
from mailqueue.delivery.opening import open_transport
from mailqueue.delivery.retry import RetryPolicy
from mailqueue.delivery.smtp.transaction import PHASE_TIMEOUTS, Phase
from mailqueue.queue import payload
from mailqueue.queue.journal import Claim, Entry, Journal, Policy, Record, Result, Settlement
from mailqueue.state import State
from tests.contracts.journals import Clock
from tests.contracts.transports.kinds import Kind
from tests.patience import wait_until
from tests.scripted import Mail, ScriptedServer

# Seconds by the test's clock: nothing ends by itself.
TIMES = Policy(lease=30, grace=30, regrace=30, doubt=3600, reply_wait=660, max_lost=5)
_FOR_EVER = 1e9
_LONGER_THAN_A_PAUSE = 600.0
_SHORTER_THAN_DOUBT = 3000.0


def letter(*to: str, body: str = "A letter\n", subject: str = "Hello") -> EmailMessage:
    return EmailMessage(subject, body, "from@example.com", list(to or ["to0@example.com"]))


def letters(count: int, **changes: str) -> list[EmailMessage]:
    return [letter(f"to{n}@example.com", **changes) for n in range(count)]


def wait_for_the_end(seconds: float, patch: pytest.MonkeyPatch) -> None:
    """Wait for the reply to each end that is written from now on for so long."""
    patch.setitem(PHASE_TIMEOUTS, Phase.DOT, seconds)


@dataclass
class Wire:
    """Messages in; bytes on the socket, outcomes and commits out."""

    kind: Kind
    journal: Journal
    clock: Clock
    server: ScriptedServer
    max_messages: int = 1000
    delays: Sequence[float] = (0.0, 0.0, 0.0)  # seconds before each retry
    stopping: Callable[[], bool] = lambda: False
    connection: Connection = field(init=False)
    be_patient: Callable[[], object] = lambda: None  # takes EMAIL_TIMEOUT away, from now on

    def __post_init__(self) -> None:
        limits = Limits(self.max_messages, _FOR_EVER, _FOR_EVER)
        self.connection = Connection(open_transport, limits, lambda: self.clock.seconds)

    # -- messages in

    def accept(self, *messages: Any) -> list[str]:
        """Have the journal take them, as m0, m1 and so on; return their ids."""
        begin = len(self.records())
        ids = [f"m{begin + n}" for n in range(len(messages))]
        self.journal.accept([self.entry(id_, m) for id_, m in zip(ids, messages, strict=True)])
        return ids

    def entry(self, id_: str, message: Any) -> Entry:
        """The message as the journal takes it."""
        text = payload.dumps(message, id_)
        summary = payload.summary(message, list(message.recipients()))
        return Entry(id_, text, payload.digest(text), summary)

    def accept_payload(self, id_: str, text: str) -> None:
        """Have the journal take a payload, past all that `send()` checks."""
        summary = {"subject": "", "from": "", "to": []}
        self.journal.accept([Entry(id_, text, payload.digest(text), summary)])

    def deliver(self, *ids: str) -> Counter[str]:
        """Deliver them, as a task does that names them; how many came to which state."""
        policy = RetryPolicy(self.delays, _FOR_EVER, TIMES.doubt)
        delivery = Delivery(
            self.journal,
            self.connection,
            policy,
            stopping=lambda: self.stopping(),
            chance=lambda: 0.5,
        )
        return delivery.run([Item(id_) for id_ in ids])

    def send(self, *messages: Any) -> Counter[str]:
        """Have them accepted and delivered, once."""
        return self.deliver(*self.accept(*messages))

    def again(self, after: float = _LONGER_THAN_A_PAUSE) -> Counter[str]:
        """Deliver what is due after these seconds, by default once any pause is over."""
        self.clock.advance(after)
        return self.deliver(*[due.id for due in self.journal.release()])

    def send_out(self, *messages: Any) -> None:
        """Have them accepted, and delivered as often as they are due."""
        self.send(*messages)
        begin = self.clock.seconds
        while any(record.state in _WAITING for record in self.records()):
            assert self.clock.seconds - begin < _SHORTER_THAN_DOUBT, self.records()
            self.again()

    def close(self) -> None:
        """Take leave of the server."""
        self.connection.close()

    # -- outcomes out

    def records(self) -> list[Record]:
        """What the journal knows of each message, in the order of their ids."""
        found = [self.journal.read([id_])[0] for state in State for id_ in self.journal.ids(state)]
        return sorted(found, key=lambda record: (len(record.id), record.id))

    def record(self, id_: str = "m0") -> Record:
        return self.journal.read([id_])[0]

    def state(self, id_: str = "m0") -> str:
        return self.record(id_).state.value

    def states(self) -> list[str]:
        """The state of each message."""
        return [record.state.value for record in self.records()]

    def attempts(self) -> list[int]:
        """How many attempts each message was charged."""
        return [record.attempts for record in self.records()]

    def results(self, id_: str = "m0") -> dict[str, tuple[str, str]]:
        """What became of each recipient, and by which reply."""
        found = self.record(id_).results
        return {address: (result.state.value, result.reply) for address, result in found.items()}

    def is_left_alone(self) -> bool:
        """Whether the mailer is in trouble."""
        return self.connection.pause > 0

    # -- bytes on the socket

    @property
    def accepted(self) -> list[Mail]:
        """What the server has accepted."""
        return self.server.accepted

    def reached(self) -> list[str]:
        """Whom the accepted messages are for, in order."""
        return [address for mail in self.accepted for address in mail.recipients]

    def ends(self, session: int | None = None) -> int:
        """How many ends of a content the server has read."""
        chunks = [c for n, c in self.server.commands if n == session or session is None]
        written = sum(bytes(found).count(b"\r\n.\r\n") for found in self._bytes(session))
        return written + sum(command.upper().endswith(" LAST") for command in chunks)

    def _bytes(self, session: int | None) -> Sequence[bytearray]:
        found = self.server.bytes
        return list(found.values()) if session is None else [found.get(session, bytearray())]

    # -- other workers

    def take_over(self, id_: str) -> Claim:
        """End a claim's lease, and have another worker claim the message."""
        client = self.journal._client

        def is_released() -> bool:
            # The worker may renew its lease in between.
            client.hset(f"mailqueue:{{q}}:message:{id_}", "due", 1)
            client.zadd("mailqueue:{q}:due", {id_: 1})
            return id_ in [due.id for due in self.journal.release()]

        wait_until(is_released, 30)
        ((claim,), _) = self.journal.claim([(id_, "")])
        return claim

    def settle(self, claim: Claim, served: str) -> None:
        """Have another worker serve one of the recipients, and put the others off."""
        results = {served: Result(State.SENT, "250 elsewhere")}
        assert self.journal.settle(claim, Settlement(State.RETRYING, "450 later", results, 0.0))


_WAITING = {State.QUEUED, State.RETRYING, State.SENDING, State.COMMITTING}
