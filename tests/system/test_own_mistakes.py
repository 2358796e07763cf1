"""Mail servers that refuse us for what is set: real workers fail nothing, and an alarm says so."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
import redis

from mailqueue import EmailMessage, get_connection
from mailqueue.monitor import report
from tests.line import let_time_pass, states
from tests.scripted import ScriptedServer
from tests.support import Worker, wait_until

pytestmark = pytest.mark.usefixtures("producer")
LETTERS = 12
NAME = "504 5.5.2 <worker>: Helo command rejected: need fully-qualified hostname"


@pytest.fixture
def refusing(request: pytest.FixtureRequest) -> Iterator[ScriptedServer]:
    """A server that says to RCPT what the test asks for."""
    reply = request.param
    with ScriptedServer(lambda _, phase, __: reply if phase == "RCPT" else None) as server:
        yield server


def send() -> None:
    messages = [
        EmailMessage(f"News {n}", "All of it", "news@example.com", [f"to{n}@example.com"])
        for n in range(LETTERS)
    ]
    assert get_connection().send_messages(messages) == LETTERS


def attempts() -> set[int]:
    return {message["attempts"] for message in report.find(report.Filter())}


@pytest.mark.parametrize(
    ("refusing", "advice"),
    [("554 5.7.1 Relay access denied", "login"), (NAME, "EHLO_NAME")],
    indirect=["refusing"],
    ids=["relay", "name"],
)
def test_a_server_that_refuses_all_fails_nothing_and_health_says_so(
    refusing: ScriptedServer,
    advice: str,
    start_worker: Callable[..., Worker],
    run_cli: Callable[..., object],
    redis_url: str,
) -> None:
    """Two workers: no attempt is charged, what to do stands there, and mended all is sent."""
    workers = [start_worker("-c", "2", EMAIL_PORT=str(refusing.port)) for _ in range(2)]

    def explain() -> str:
        return "\n".join([str(states()), *(worker.explain() for worker in workers)])

    send()
    wait_until(lambda: any(mailer["alarm"] for mailer in report.mailers()), 30, explain)
    wait_until(lambda: not {"sending", "committing"} & states().keys(), 30, explain)
    assert attempts() == {0}
    assert set(states()) <= {"queued", "retrying"}
    found = run_cli("health", "--json")
    assert (found.returncode, advice in found.stdout) == (1, True)
    refusing.script = lambda *_: None
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        for key in client.scan_iter("mailqueue:{mailer:*}:breaker"):
            client.hset(key, "not_before", 0)  # as a minute later
    let_time_pass(redis_url)
    wait_until(lambda: states() == {"sent": LETTERS}, 60, explain)
    assert attempts() == {1}
    assert json.loads(run_cli("health", "--json").stdout)["ok"]
