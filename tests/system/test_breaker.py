"""A mail server in trouble, or our own mistake with it: all workers leave it alone together."""

from __future__ import annotations

import contextlib
import json
import re
import selectors
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
import redis
import trustme
from aiosmtpd.smtp import AuthResult

from mailqueue import EmailMessage, get_connection
from mailqueue.delivery.retry import JITTER
from mailqueue.local.smtpd import SmtpServer
from mailqueue.monitor import report
from mailqueue.testing import RecordingServer
from tests.line import states
from tests.support import Worker, wait_until

pytestmark = pytest.mark.usefixtures("producer")
LETTERS = 30


class Door:
    """A port before a mail server, that counts who comes, and lets them in or not.

    ``mode`` is one of ``reset`` (the connection is reset at once), ``silent`` (nothing is ever
    said), ``busy`` (421 for a greeting) and ``open`` (everything goes to the server behind).
    """

    def __init__(self, behind: Callable[[], int], mode: str) -> None:
        self.mode = mode
        self.came: list[float] = []
        self._behind = behind
        self._kept: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def open(self) -> None:
        """Let in all who come from now on; who still waits is sent away."""
        self.mode = "open"
        while self._kept:
            self._kept.pop().close()

    def close(self) -> None:
        self.open()
        self._listener.close()

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                self.came.append(time.monotonic())
                self._answer(client)

    def _answer(self, client: socket.socket) -> None:
        if self.mode == "open":
            threading.Thread(target=self._pass, args=[client], daemon=True).start()
        elif self.mode == "silent":
            self._kept.append(client)
        else:
            if self.mode == "reset":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                client.sendall(b"421 4.3.2 too busy\r\n")
            client.close()

    def _pass(self, client: socket.socket) -> None:
        with (
            client,
            socket.create_connection(("127.0.0.1", self._behind())) as server,
            selectors.DefaultSelector() as selector,
        ):
            selector.register(client, selectors.EVENT_READ, server)
            selector.register(server, selectors.EVENT_READ, client)
            while True:
                for ready, _ in selector.select():
                    data = ready.fileobj.recv(65536)
                    if not data:
                        return
                    ready.data.sendall(data)


@pytest.fixture
def door(request, smtp_server, queue_settings, monkeypatch) -> Iterator[Door]:
    """The way to the mail server, in the mode that the parameter names."""
    found = Door(lambda: smtp_server.port, getattr(request, "param", "open"))
    monkeypatch.setitem(queue_settings, "EMAIL_PORT", str(found.port))
    monkeypatch.setenv("EMAIL_PORT", str(found.port))
    monkeypatch.setitem(queue_settings, "EMAIL_TIMEOUT", "1")
    yield found
    found.close()


def send(count: int = LETTERS) -> list[str]:
    messages = [
        EmailMessage(f"News {n}", "All of it", "news@example.com", [f"to{n}@example.com"])
        for n in range(count)
    ]
    assert get_connection().send_messages(messages) == count
    return [message.mailqueue_id for message in messages]


def failures() -> int:
    return sum(mailer["failures"] for mailer in report.mailers())


def end_pause(redis_url: str) -> None:
    """Let the pause be over, as it would be after a minute."""
    with redis.Redis.from_url(redis_url) as client:
        for key in client.keys("mailqueue:{mailer:*}:breaker"):
            client.hset(key, "not_before", 0)


def begin_pause(redis_url: str) -> None:
    """Let there be a pause of an hour."""
    with redis.Redis.from_url(redis_url) as client:
        for key in client.keys("mailqueue:{mailer:*}:breaker"):
            client.hset(key, "not_before", int((time.time() + 3600) * 1000))


def await_rounds(redis_url: str, number: int, worker: Worker) -> None:
    """Wait until the timer of the only worker has looked that often."""
    with redis.Redis.from_url(redis_url) as client:
        seen: set[float] = set()

        def has_looked() -> bool:
            seen.update(
                at
                for _, at in client.zrange("mailqueue:{mailqueue}:workers", 0, -1, withscores=True)
            )
            return len(seen) > number

        wait_until(has_looked, 20, worker.explain)


def assert_nothing_charged() -> None:
    found = report.find(report.Filter())
    assert {message["state"] for message in found} <= {"queued", "retrying", "sending"}
    idle = [message for message in found if message["state"] != "sending"]
    assert {message["attempts"] for message in idle} == {0}


@pytest.mark.parametrize("door", ["reset", "silent", "busy"], indirect=True)
def test_a_server_in_trouble_is_left_alone_by_all_workers(door, start_worker, smtp_server):
    """Two workers of two processes: few connections, longer and longer apart; then mail flows."""
    workers = [start_worker("-c", "2"), start_worker("-c", "2")]
    send()  # not before: a worker's start lets the mailer be tried at once

    def explain() -> str:
        return "\n".join([str(states()), str(report.mailers()), *(w.explain() for w in workers)])

    wait_until(lambda: failures() >= 4, 60, explain)  # after pauses of 1, 2 and 4 seconds
    # Each process once at the beginning, before the first has failed; then one at a time.
    assert len(door.came) <= 4 + failures()
    second, third, fourth = door.came[-3:]
    assert third - second >= 2 * (1 - JITTER)
    assert fourth - third >= 4 * (1 - JITTER)
    assert_nothing_charged()
    came = len(door.came)
    door.open()
    wait_until(lambda: states() == {"sent": LETTERS}, 30, explain)
    assert {m["attempts"] for m in report.find(report.Filter())} == {1}
    assert len(smtp_server.received) == LETTERS
    assert len(door.came) - came <= 4 + 1
    assert report.mailers() == []


def test_workers_claim_nothing_while_the_server_is_left_alone(
    start_worker, smtp_server, unused_port, redis_url
):
    """Nobody listens there: but for the few that found that out, the messages aren't touched."""
    send()
    worker = start_worker("-c", "2", EMAIL_PORT=str(unused_port))

    def tasks() -> int:
        return worker.log.read_text().count("succeeded")

    def claims() -> int:
        with redis.Redis.from_url(redis_url) as client:
            return int(client.get("mailqueue:{mailqueue}:fence"))

    wait_until(lambda: failures() >= 4, 60, worker.explain)
    assert_nothing_charged()
    # Ten messages are claimed at a time: by each process once, then one message for each try.
    assert claims() <= 2 * 10 + failures()
    assert len(re.findall("Connection refused", worker.log.read_text())) <= 2 + failures()
    # In a pause, the timer doesn't send round in vain what waits.
    begin_pause(redis_url)
    wait_until(lambda: worker.log.read_text().count("received") == tasks(), 10, worker.explain)
    begin_pause(redis_url)  # where a try that was under way has put its own in the place of it
    before = failures(), claims(), tasks()
    await_rounds(redis_url, 3, worker)
    assert (failures(), claims(), tasks()) == before
    # What arrives in it stays as it is.
    send()
    wait_until(lambda: tasks() > before[2], 10, worker.explain)
    assert (failures(), claims()) == before[:2]
    assert_nothing_charged()
    assert sum(states().values()) == 2 * LETTERS


class LoginServer:
    """A mail server that wants a login, and takes or refuses it as it is told."""

    def __init__(self) -> None:
        self.takes = False
        self.logins = 0
        self.recording = RecordingServer()
        self._server = SmtpServer(
            self.recording,
            authenticator=self._authenticate,
            auth_required=True,
            auth_require_tls=False,
        )

    @property
    def port(self) -> int:
        return self._server.port

    def _authenticate(self, *_: object) -> object:
        self.logins += 1
        return AuthResult(success=self.takes, handled=False)

    def __enter__(self) -> LoginServer:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()


@pytest.fixture
def login_server(queue_settings, monkeypatch) -> Iterator[LoginServer]:
    with LoginServer() as server:
        for name, value in {
            "EMAIL_PORT": str(server.port),
            "EMAIL_HOST_USER": "ann",
            "EMAIL_HOST_PASSWORD": "wrong-or-not",
        }.items():
            monkeypatch.setitem(queue_settings, name, value)
            monkeypatch.setenv(name, value)
        yield server


def alarmed() -> bool:
    return any(mailer["alarm"] for mailer in report.mailers())


def paused() -> bool:
    """Whether nobody tries the mailer now, nor will within half a minute."""
    soon = datetime.now(UTC) + timedelta(seconds=30)
    return all(datetime.fromisoformat(m["not_before"]) > soon for m in report.mailers())


# aiosmtpd says what everybody knows of logins without TLS; this one never leaves the machine.
@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
@pytest.mark.parametrize("way", ["the next try", "resume --mailer", "a new worker"])
def test_a_refused_login_pauses_the_mailer_and_fails_nothing(
    way, start_worker, login_server, run_cli, redis_url
):
    """The alarm is seen by `status` and `health`, logged once; when it is mended, all are sent."""
    workers = [start_worker("-c", "2"), start_worker("-c", "2")]
    send()  # not before: a worker's start lets the mailer be tried at once

    def log() -> str:
        return "\n".join([str(states()), str(report.mailers()), *(w.explain() for w in workers)])

    wait_until(lambda: alarmed() and paused(), 30, log)
    wait_until(lambda: "sending" not in states(), 30, log)
    assert_nothing_charged()
    assert login_server.logins <= 4
    name = f"127.0.0.1:{login_server.port}"
    assert f"mailer {name}: ALARM, not used before" in run_cli("status").stdout
    health = run_cli("health", "--json")
    assert health.returncode == 1
    (problem,) = json.loads(health.stdout)["problems"]
    assert problem.startswith(f"the mailer {name} can't be used, and that is our own mistake: 535")
    assert log().count("that is our own mistake") == 1
    assert "wrong-or-not" not in log()
    login_server.takes = True
    if way == "the next try":
        end_pause(redis_url)
    elif way == "resume --mailer":
        assert run_cli("resume", "--mailer", name).stdout == f"mailer {name} is used again\n"
    else:
        workers.append(start_worker())
    wait_until(lambda: states() == {"sent": LETTERS}, 30, log)
    assert len(login_server.recording.received) == LETTERS
    assert {m["attempts"] for m in report.find(report.Filter())} == {1}
    assert not alarmed()
    assert json.loads(run_cli("health", "--json").stdout)["ok"]


def scripted(replies: dict[str, str]) -> Callable[[socket.socket], None]:
    """What to do with a client: greet, and answer each command by its first word."""

    def serve(client: socket.socket) -> None:
        with client, client.makefile("rwb") as stream:
            stream.write(b"220 hello\r\n")
            stream.flush()
            for line in stream:
                word = line.split()[0].decode().upper()
                stream.write(replies.get(word, "250 ok").encode() + b"\r\n")
                stream.flush()

    return serve


@pytest.fixture
def scripted_server() -> Iterator[Callable[[dict[str, str]], int]]:
    """Start a server with those replies; return its port."""
    with contextlib.ExitStack() as stack:

        def start(replies: dict[str, str]) -> int:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

            def run() -> None:
                with contextlib.suppress(OSError):  # closed
                    while True:
                        client, _ = listener.accept()
                        threading.Thread(
                            target=scripted(replies), args=[client], daemon=True
                        ).start()

            threading.Thread(target=run, daemon=True).start()
            return listener.getsockname()[1]

        yield start


LOGIN = {"EMAIL_HOST_USER": "ann", "EMAIL_HOST_PASSWORD": "secret"}


@pytest.mark.parametrize(
    ("replies", "environment", "reason"),
    [
        (
            {"EHLO": "250-hello\r\n250 AUTH PLAIN", "AUTH": "454 4.7.0 not now"},
            LOGIN,
            "454 4.7.0 not now",
        ),
        ({"EHLO": "250-hello\r\n250 AUTH X-OWN"}, LOGIN, "No suitable authentication method found"),
        ({}, LOGIN, "SMTP AUTH extension not supported"),
        ({}, {"EMAIL_USE_TLS": "1"}, "STARTTLS extension not supported"),
    ],
    ids=["454", "no common mechanism", "no AUTH", "no STARTTLS"],
)
def test_our_own_mistakes_raise_an_alarm_and_fail_nothing(
    replies, environment, reason, scripted_server, start_worker
):
    """Whatever there is to mend, the message waits for it."""
    port = scripted_server({"EHLO": "250 ok", **replies})
    send(1)
    worker = start_worker(EMAIL_PORT=str(port), **environment)
    wait_until(alarmed, 30, worker.explain)
    (mailer,) = report.mailers()
    assert reason in mailer["reason"]
    wait_until(lambda: "sending" not in states(), 10, worker.explain)
    assert_nothing_charged()
    assert reason in report.find(report.Filter())[0]["reply"]


def test_a_certificate_that_is_not_valid_raises_an_alarm(start_worker, smtp_server, tmp_path):
    """A self-signed one: nothing is said in clear text, and the message waits."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    recording = RecordingServer()
    server = SmtpServer(recording, tls_context=context)
    server.start()
    try:
        send(1)
        worker = start_worker(EMAIL_PORT=str(server.port), EMAIL_USE_TLS="1")
        wait_until(alarmed, 30, worker.explain)
        assert "CERTIFICATE_VERIFY_FAILED" in report.mailers()[0]["reason"]
        wait_until(lambda: "sending" not in states(), 10, worker.explain)
        assert_nothing_charged()
        assert recording.rcpt_commands == []
    finally:
        server.stop()
