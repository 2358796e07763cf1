"""OAuth2 with real workers: tokens end, are refused, rotated, can't be had; no mail is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from mailqueue.monitor import report
from tests.line import copies, send, states
from tests.oauth2.door import GOOGLES, MICROSOFTS, USER, Door
from tests.oauth2.issuer import ACCOUNT, Issuer
from tests.scripted import ScriptedServer
from tests.support import Worker, printed, wait_until
from tests.system.test_breaker import alarmed, assert_nothing_charged, end_pause, paused

pytestmark = pytest.mark.usefixtures("producer")
MANY = 1000


@dataclass
class Office:
    """A mail server, the issuer whose tokens it takes, and which of these it takes no more."""

    issuer: Issuer
    door: Door
    server: ScriptedServer
    revoked: int = 0  # token-1, token-2 … up to that

    def accepts(self, token: str) -> bool:
        return int(token.removeprefix("token-")) > self.revoked

    def rotate(self) -> None:
        """Revoke all tokens so far, also of who is logged in."""
        self.revoked = len(self.issuer.requests)
        self.door.shut()


@pytest.fixture
def features() -> tuple[str, ...]:
    """What the mail server offers."""
    return GOOGLES


@pytest.fixture
def office(features, queue_settings, monkeypatch, stack: ExitStack) -> Iterator[Office]:
    """Programs and workers whose mail server wants tokens."""
    issuer = stack.enter_context(Issuer())
    door = Door(lambda token: found.accepts(token), at_once=features is MICROSOFTS)
    server = stack.enter_context(door.at(features))
    found = Office(issuer, door, server)
    for name, value in {
        "EMAIL_PORT": str(server.port),
        "EMAIL_HOST_USER": USER,
        "EMAIL_OAUTH2": "mailqueue.oauth2.google",
        "EMAIL_OAUTH2_OPTIONS": json.dumps({"service_account": issuer.service_account}),
    }.items():
        monkeypatch.setitem(queue_settings, name, value)
        monkeypatch.setenv(name, value)
    return found


def everything(*workers: Worker) -> str:
    return "\n".join([str(states()), str(report.mailers()), *(w.explain() for w in workers)])


@pytest.mark.parametrize("features", [MICROSOFTS], ids=["XOAUTH2"])
def test_a_rotation_while_a_thousand_messages_wait_loses_none(office, start_worker) -> None:
    """All are sent, each once, and none is charged an attempt; each worker asks for a new token."""
    send(MANY)
    worker = start_worker("-c", "2", MAILQUEUE_CONNECTION_MAX_MESSAGES="50")
    server = office.server
    for part in (300, 600):
        wait_until(lambda part=part: len(server.accepted) >= part, 60, lambda: everything(worker))
        office.rotate()
    wait_until(lambda: states() == {"sent": MANY}, 60, lambda: everything(worker))
    assert copies(server) == [1] * MANY
    assert {m["attempts"] for m in report.find(report.Filter())} == {1}
    assert report.mailers() == []
    assert 3 <= len(office.issuer.requests) <= 2 * 3
    log = worker.log.read_text()
    assert not [token for token in office.door.brought if token in log]
    assert "PRIVATE KEY" not in log


def test_tokens_that_end_are_replaced(office, start_worker) -> None:
    """Before their ends: none that has ended is shown to the server."""
    office.issuer.life = 0  # ends with the login
    send(20)
    worker = start_worker("-c", "1", MAILQUEUE_CONNECTION_MAX_MESSAGES="5")
    wait_until(lambda: states() == {"sent": 20}, 30, lambda: everything(worker))
    assert office.door.brought == [f"token-{n + 1}" for n in range(len(office.door.brought))]
    assert len(office.door.brought) >= 4


@pytest.mark.parametrize("fault", ["down", "refuse", "hang", "the server refuses"])
def test_a_token_that_can_not_be_had_raises_an_alarm_and_fails_nothing(
    fault, office, start_worker, run_cli, redis_url
) -> None:
    """The mail waits, uncharged, and is sent when the fault is mended."""
    if fault == "the server refuses":
        office.revoked = 10**6
    else:
        office.issuer.mode = fault
    send(30)
    worker = start_worker(EMAIL_TIMEOUT="1" if fault == "hang" else "30")
    wait_until(lambda: alarmed() and paused(), 30, lambda: everything(worker))
    wait_until(lambda: "sending" not in states(), 30, lambda: everything(worker))
    assert_nothing_charged()
    (mailer,) = report.mailers()
    texts = {
        "down": f"no OAuth2 token for {USER} from mailqueue.oauth2.google: ",
        "refuse": "invalid_client",
        "hang": "no answer within 1 seconds",
        "the server refuses": '535 5.7.8 Username and Password not accepted. ({"status": "401"',
    }
    assert texts[fault] in mailer["reason"]
    assert "that is our own mistake" in run_cli("health").stdout
    office.issuer.mode, office.revoked = "ok", 0
    end_pause(redis_url)
    wait_until(lambda: states() == {"sent": 30}, 30, lambda: everything(worker))
    assert {m["attempts"] for m in report.find(report.Filter())} == {1}
    assert copies(office.server) == [1] * 30
    seen = worker.log.read_text() + json.dumps(report.find(report.Filter()))
    assert not [token for token in office.door.brought if token in seen]
    assert "PRIVATE KEY" not in seen


def test_check_says_whose_token_it_is(office, run_cli) -> None:
    """User, issuer, application and end; it sends nothing, and shows nothing that is secret."""
    result = run_cli("check", "--json")
    (found,) = [c["found"] for c in printed(result)["checks"] if c["name"] == "mail server"]
    assert f"logged in as {USER} by OAuth2, issuer {office.issuer.url}/token, " in found
    assert f"application {ACCOUNT}, token until 20" in found
    assert office.server.accepted == []
    assert "token-1" not in result.stdout
    assert "PRIVATE KEY" not in result.stdout


def test_check_says_whose_token_a_mailer_has(office, run_cli) -> None:
    """Where `USING` names it, as well."""
    options = {
        "host": "127.0.0.1",
        "port": office.server.port,
        "username": USER,
        "oauth2": "mailqueue.oauth2.google",
        "oauth2_options": {"service_account": office.issuer.service_account},
    }
    mailers = json.dumps({"office": {"OPTIONS": options}})
    result = run_cli("check", "--json", MAILERS=mailers, MAILQUEUE_USING="office")
    (found,) = [c["found"] for c in printed(result)["checks"] if c["name"] == "mail server"]
    assert found.startswith(f"office, logged in as {USER} by OAuth2, issuer ")
    assert "PRIVATE KEY" not in result.stdout


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        ({"MAILQUEUE_BACKEND": "django.core.mail.backends.smtp.EmailBackend"}, "can't log in by"),
        ({"EMAIL_OAUTH2_OPTIONS": '{"service_acount": "/s3cret"}'}, "'service_acount'"),
        ({"EMAIL_OAUTH2_OPTIONS": '{"service_account": {"private_key": "s3cret"}}'}, "no OAuth2"),
        ({"EMAIL_HOST_USER": ""}, "EMAIL_OAUTH2 needs EMAIL_HOST_USER"),
    ],
)
def test_check_says_what_is_wrong_with_the_settings(office, run_cli, environment, problem) -> None:
    """By their names, and without what they hold."""
    result = run_cli("check", "--json", **environment)
    assert result.returncode == 1
    (found,) = [c["problems"] for c in json.loads(result.stdout)["checks"] if c["problems"]]
    assert problem in found[0]
    assert "s3cret" not in result.stdout
