"""The clock of the journal's server steps by an hour, while a worker and a program go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mailqueue import EmailMessage, get_connection
from mailqueue.monitor import report
from tests.scripted import ScriptedServer, Session
from tests.steps import NEEDS_FAKETIME, SteppingValkey
from tests.support import Worker, wait_until

pytestmark = [NEEDS_FAKETIME, pytest.mark.long]
HOUR = 3600
SOON = 20  # seconds, on a quiet machine; nothing in these tests has to wait for a half of it


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SteppingValkey]:
    with SteppingValkey(tmp_path / "valkey", config={"appendonly": "yes"}) as server:
        yield server


@pytest.fixture
def redis_url(server: SteppingValkey) -> str:
    return server.url


def letter(name: str, **times: float) -> EmailMessage:
    """A letter; times are in seconds from now."""
    message = EmailMessage(name, "A letter", "from@example.com", [f"{name}@example.com"])
    now = datetime.now(UTC)
    vars(message).update({name: now + timedelta(seconds=wait) for name, wait in times.items()})
    return message


def state(message: EmailMessage) -> str:
    return str(report.show(message.mailqueue_id)["state"])


def deferring(names: set[str]) -> Callable[[Session, str, str], str | None]:
    """Have each of these recipients be tried again, once."""
    left = set(names)

    def script(_session: Session, phase: str, command: str) -> str | None:
        name = next((name for name in left if f"<{name}@" in command), None)
        if phase != "RCPT" or name is None:
            return None
        left.remove(name)
        return "451 later"

    return script


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_nothing_waits_or_goes_early_when_the_clock_steps(
    producer: None, start_worker: Callable[..., Worker], server: SteppingValkey, step: int
) -> None:
    """What waits goes when it would have gone, what is scheduled stays so, and each goes once."""
    waiting = [letter("retried"), letter("scheduled", send_at=6)]
    patient = [letter("later", send_at=HOUR / 2), letter("code", send_at=600, expires_at=900)]
    with ScriptedServer(deferring({"retried", "after"})) as smtp:
        worker = start_worker(EMAIL_PORT=str(smtp.port), MAILQUEUE_RETRY="4s, 4s, 4s")
        get_connection().send_messages([*waiting, *patient])
        wait_until(lambda: state(waiting[0]) == "retrying", SOON, worker.explain)
        server.step_to(step)
        # At once, that is before any timer can have noticed, and after.
        waiting += [letter("after"), letter("in-a-moment", send_at=3), letter("now")]
        patient += [letter("much-later", send_at=HOUR / 2), letter("use", send_at=9, expires_at=99)]
        get_connection().send_messages([*waiting[2:], *patient[2:]])
        waiting.append(patient.pop())
        wait_until(lambda: all(state(m) == "sent" for m in waiting), SOON, worker.explain)
        assert [state(message) for message in patient] == ["scheduled"] * 3
        recipients = sorted(mail.recipients[0] for mail in smtp.accepted)
        assert recipients == sorted(message.to[0] for message in waiting)
        due = datetime.fromisoformat(report.show(patient[0].mailqueue_id)["due"])
        assert abs(due - patient[0].send_at) < timedelta(seconds=5)
        assert f"stepped by {step / HOUR:+.0f}"[:12] in worker.log.read_text()
