"""Commands and replies over one SMTP connection: each reply is read once, and none is made up."""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache

from mailqueue.backends.reach import endure_loss, notice_loss
from mailqueue.store.spin import Wakefulness, is_readable

from ..outcome import Reply, printable

_LONGEST_LINE = 4096  # bytes; RFC 5321 4.5.3.1.5 allows 512, some servers need more
_MOST_LINES = 100  # in one reply
_PART = 256 * 1024  # bytes of a long content that are written at a time
_REPLY_LINE = re.compile(rb"([2-5][0-9][0-9])([ -]?)(.*)", re.DOTALL)


class GarbledReply(ConnectionError):
    """What the server said is no reply (RFC 5321 4.2), so the connection can't be used again."""


class Dialogue:
    """A connected socket, with what was received over it and not yet read."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._received = bytearray()
        self._lost: OSError | None = None  # found while nobody waited for a reply
        self._wakefulness = Wakefulness()
        self._endures = True  # while nobody waits
        self._timeout = -1.0  # the socket's, in seconds; it is a system call to set one
        # The dot is a small write after another that isn't acknowledged yet: Nagle's algorithm and
        # the peer's delayed acknowledgement would hold it back for 40 ms, with every message.
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.endure(losses=False)

    def write(self, *parts: bytes, timeout: float) -> None:
        """Send all of it in one go. Raises OSError, also when no progress takes so many seconds."""
        self._set_timeout(timeout)
        if isinstance(self._socket, ssl.SSLSocket):  # which encrypts from one buffer only
            self._socket.sendall(parts[0] if len(parts) == 1 else b"".join(parts))
        else:
            left = [memoryview(part) for part in parts]
            while left:
                left = _after(self._socket.sendmsg(left), left)

    def write_long(self, data: bytes | memoryview, timeout: float) -> bool:
        """Send it in parts, with so many seconds for each; False: the server spoke first."""
        # A system that notices losses would take a server for lost that reads nothing for a while.
        self.endure(losses=True)
        view = memoryview(data)
        for start in range(0, len(data), _PART):
            if self.has_unread():
                return False
            self._set_timeout(timeout)
            self._socket.sendall(view[start : start + _PART])
        return True

    def end(self) -> None:
        """Send nothing more; what the server still says can be read."""
        with suppress(OSError):
            # Not that of TLS, which would leave its last words undecrypted.
            socket.socket.shutdown(self._socket, socket.SHUT_WR)

    def endure(self, losses: bool) -> None:
        """Whether to wait on where the server's host gives no sign, or to take that for a loss."""
        if losses is not self._endures:
            (endure_loss if losses else notice_loss)(self._socket)
            self._endures = losses

    def read(self, timeout: float) -> Reply:
        """Return the next reply, within so many seconds. Raises OSError, also as GarbledReply.

        After a TimeoutError the same reply can be waited for again.
        """
        found = self._reply()
        if found is None:
            deadline = time.monotonic() + timeout
            self._receive(max(timeout, 0.001))
            while (found := self._reply()) is None:
                self._receive(max(deadline - time.monotonic(), 0.001))
        return found

    def has_unread(self, within: float = 0) -> bool:
        """Whether the server has said something more, or closed; it has so many seconds for it."""
        if self._received or self._pending():
            return True
        return is_readable(self._socket, within)

    def answers_at_once(self) -> bool:
        """Whether the server says something so soon that there is no time for anything else."""
        return self.has_unread() or self._wakefulness.wait(self._socket)

    def read_at_once(self, within: float) -> Reply | None:
        """The next reply, if it begins at once and its end comes within so many seconds.

        Raises OSError, also as GarbledReply.
        """
        if not self.answers_at_once():
            return None
        if not (self._received or self._lost or isinstance(self._socket, ssl.SSLSocket)):
            # It is there, so this doesn't wait, and needs no time-out of its own.
            self._take(self._socket.recv(65536))
        try:
            return self.read(within)
        except TimeoutError:
            return None

    def has_answered(self, count: int) -> bool:
        """Whether so many replies are here."""
        self._take_what_came()
        return len(self._last_lines()) >= count

    def is_ending(self) -> bool:
        """Whether the server has closed, or has said that it does."""
        self._take_what_came()
        return self._lost is not None or any(line[:3] == b"421" for line in self._last_lines())

    def _last_lines(self) -> list[bytearray]:
        """The last line of each reply that is here."""
        lines = self._received.splitlines(keepends=True)
        return [line for line in lines if line.endswith(b"\n") and line[3:4] != b"-"]

    def _take_what_came(self) -> None:
        self._set_timeout(0)
        try:
            while self._lost is None and len(self._received) < _PART:
                self._take(self._socket.recv(65536))
        except (BlockingIOError, ssl.SSLWantReadError):
            pass
        except OSError as error:
            self._lost = error

    def _pending(self) -> int:
        # What TLS has decrypted already, the socket itself doesn't show.
        pending = getattr(self._socket, "pending", None)
        return pending() if pending else 0

    def _reply(self) -> Reply | None:
        """Take a reply from what was received, if all of its lines are there."""
        texts: list[str] = []
        start = 0
        while (end := self._received.find(b"\n", start)) >= 0:
            line, is_last = _parse_line(bytes(self._received[start:end]))
            start = end + 1
            if is_last:
                del self._received[:start]
                return Reply(line.code, " ".join([*texts, line.text]).strip()) if texts else line
            texts.append(line.text)
        if len(self._received) - start > _LONGEST_LINE or len(texts) > _MOST_LINES:
            raise GarbledReply(
                f"a reply of more than {_MOST_LINES} lines, or {_LONGEST_LINE} bytes in one"
            )
        return None

    def _receive(self, within: float) -> None:
        if self._lost is not None:
            raise self._lost
        self._set_timeout(within)
        if not self._pending():
            self._wakefulness.wait(self._socket)
        self._take(self._socket.recv(65536))

    def _set_timeout(self, seconds: float) -> None:
        if seconds != self._timeout:
            self._socket.settimeout(seconds)
            self._timeout = seconds

    def _take(self, found: bytes) -> None:
        if not found:
            raise ConnectionError("the server closed the connection")
        self._received += found


def _after(sent: int, parts: Sequence[memoryview]) -> list[memoryview]:
    """What is left of the parts when so many bytes were sent."""
    left = []
    for part in parts:
        if sent < len(part):
            left.append(part[sent:])
        sent = max(0, sent - len(part))
    return left


@lru_cache(maxsize=256)  # most of what a server says it has said before
def _parse_line(line: bytes) -> tuple[Reply, bool]:
    """A line of a reply, and whether it is the last one."""
    line = line.removesuffix(b"\r")
    match = _REPLY_LINE.fullmatch(line)
    if match is None or len(line) > _LONGEST_LINE:
        raise GarbledReply(f"unreadable reply: {_text(line[:200])!r}")
    code, separator, text = match.groups()
    return Reply(int(code), _text(text)), separator != b"-"


def _text(line: bytes) -> str:
    return printable(line.decode("utf-8", "replace"))
