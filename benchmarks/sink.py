"""An SMTP server that keeps up with everything measured here: PIPELINING, CHUNKING, no disk.

A program of its own, `python -m benchmarks.sink`, which `benchmarks.process.Program` talks to. It
listens on two ports, with CHUNKING and without. Messages are kept as they came and judged after the
run, outside of what is timed. `python -m benchmarks.sink --check` measures how fast it is.
"""

from __future__ import annotations

import re
import socket
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from benchmarks.oracle import Received, Verdict, judge
from benchmarks.process import answer_requests

_AT_ONCE = 1 << 18  # bytes
_EXTENSIONS = ["8BITMIME", "SIZE 104857600", "PIPELINING"]
_ADDRESS = re.compile(rb"<(.*?)>")
_END = b"\r\n.\r\n"


@dataclass
class Mailbox:
    """What arrived since the last run began, and when the last of the awaited did."""

    awaited: int = 0
    raw: list[tuple[tuple[bytes, ...], bytes, bool, float]] = field(default_factory=list)
    complete: threading.Event = field(default_factory=threading.Event)
    at: float = 0.0

    def put(self, recipients: tuple[bytes, ...], content: bytes, stuffed: bool) -> None:
        """Keep a message; several sessions may do so at once."""
        now = time.monotonic()
        self.raw.append((recipients, content, stuffed, now))
        if len(self.raw) == self.awaited:
            self.at = now
            self.complete.set()

    def received(self) -> list[Received]:
        """The messages, with the dots of DATA taken off."""
        return [
            Received(
                tuple(address.decode() for address in recipients),
                content.replace(b"\r\n..", b"\r\n.") if stuffed else content,
            )
            for recipients, content, stuffed, _ in self.raw
        ]


class Session(threading.Thread):
    """One connection: everything is accepted, replies to what came together go out together."""

    def __init__(self, connection: socket.socket, mailbox: Mailbox, chunking: bool) -> None:
        super().__init__(daemon=True)
        self.connection, self.mailbox, self.chunking = connection, mailbox, chunking
        self.buffer, self.start_at, self.searched = bytearray(), 0, 0
        self.in_data, self.chunks = False, bytearray()
        self.recipients: list[bytes] = []
        self.replies: list[bytes] = []
        self.is_over = False

    def run(self) -> None:
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(OSError), self.connection:
            self.connection.sendall(b"220 sink\r\n")
            while not self.is_over and (data := self.connection.recv(_AT_ONCE)):
                self.buffer += data
                while self.step():
                    pass
                del self.buffer[: self.start_at]
                self.searched -= self.start_at
                self.start_at = 0
                if self.replies:
                    self.connection.sendall(b"".join(self.replies))
                    self.replies.clear()

    def step(self) -> bool:
        """Take one command or one message from the buffer, if it is there in full."""
        if self.in_data:
            return self.take_data()
        end = self.buffer.find(b"\r\n", self.start_at)
        if end < 0:
            return False
        line = bytes(self.buffer[self.start_at : end])
        verb = line[:4].upper()
        if verb == b"BDAT":
            return self.take_chunk(line, end + 2)
        self.start_at = self.searched = end + 2
        self.command(verb, line)
        return True

    def take_data(self) -> bool:
        end = self.buffer.find(_END, max(self.start_at, self.searched - len(_END)))
        if end < 0:
            self.searched = len(self.buffer)
            return False
        self.accept(bytes(self.buffer[self.start_at : end + 2]), stuffed=True)
        self.start_at = self.searched = end + len(_END)
        self.in_data = False
        return True

    def take_chunk(self, line: bytes, begin: int) -> bool:
        """BDAT says its size: nothing is searched in it (RFC 3030)."""
        words = line.split()
        end = begin + int(words[1])
        if len(self.buffer) < end:
            return False
        self.chunks += self.buffer[begin:end]
        self.start_at = self.searched = end
        if len(words) > 2 and words[2].upper() == b"LAST":
            self.accept(bytes(self.chunks), stuffed=False)
            self.chunks.clear()
        else:
            self.reply(b"250 chunk taken")
        return True

    def accept(self, content: bytes, stuffed: bool) -> None:
        self.mailbox.put(tuple(self.recipients), content, stuffed)
        self.recipients.clear()
        self.reply(b"250 2.0.0 taken")

    def command(self, verb: bytes, line: bytes) -> None:
        if verb == b"RCPT":
            found = _ADDRESS.search(line)
            self.recipients.append(found[1] if found else b"")
        elif verb == b"EHLO":
            names = [*_EXTENSIONS, *(["CHUNKING"] if self.chunking else [])]
            self.replies += [f"250-{name}\r\n".encode() for name in names]
        elif verb == b"RSET":
            self.recipients.clear()
        self.in_data = verb == b"DATA"
        self.is_over = verb == b"QUIT"
        self.reply({b"DATA": b"354 go on", b"QUIT": b"221 bye"}.get(verb, b"250 2.0.0 ok"))

    def reply(self, line: bytes) -> None:
        self.replies.append(line + b"\r\n")


class Sink:
    """The server, and what may be asked of it."""

    def __init__(self) -> None:
        self.mailbox = Mailbox()
        self.ports = {"pipelining": self.listen(False), "chunking": self.listen(True)}

    def listen(self, chunking: bool) -> int:
        """Serve on a free port."""
        listener = socket.create_server(("127.0.0.1", 0), backlog=128)

        def serve() -> None:
            while True:
                Session(listener.accept()[0], self.mailbox, chunking).start()

        threading.Thread(target=serve, daemon=True).start()
        port: int = listener.getsockname()[1]
        return port

    def expect(self, number: int) -> dict[str, Any]:
        """Forget what came before, and await so many messages."""
        self.mailbox.raw = []
        self.mailbox.complete.clear()
        self.mailbox.awaited = number
        return {}

    def wait(self, seconds: float) -> dict[str, Any]:
        """When the last of them came, by the system's monotonic clock; None: it didn't."""
        complete = self.mailbox.complete.wait(seconds)
        return {"at": self.mailbox.at if complete else None, "count": len(self.mailbox.raw)}

    def arrivals(self) -> dict[str, Any]:
        """When the message of each recipient came, by the same clock."""
        found = {to.decode(): at for recipients, _, _, at in self.mailbox.raw for to in recipients}
        return {"arrivals": found}

    def verify(self, shape: str, first: int, number: int) -> dict[str, Any]:
        """Judge what came, with the bytes of all messages together."""
        received = self.mailbox.received()
        verdict: Verdict = judge(received, shape, range(first, first + number))
        size = sum(len(message.content) for message in received)
        self.mailbox.raw = []
        return {**vars(verdict), "bytes": size}


def check(number: int = 20_000) -> None:
    """Print how many messages a second it takes of a stream that was built before."""
    body = (
        b"Subject: x\r\n\r\n" + b"A line of text that is not very long, as in most mail.\r\n" * 72
    )
    envelope = b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\n"
    sink = Sink()
    for name, message in [
        ("pipelining", envelope + b"DATA\r\n" + body + b".\r\n"),
        ("chunking", envelope + b"BDAT %d LAST\r\n" % len(body) + body),
    ]:
        sink.expect(number)
        with socket.create_connection(("127.0.0.1", sink.ports[name])) as client:
            threading.Thread(target=_drain, args=[client], daemon=True).start()
            client.sendall(b"EHLO x\r\n")
            start = time.monotonic()
            for _ in range(number // 100):
                client.sendall(message * 100)
            at = sink.wait(60)["at"]
        print(f"{name}: {number / (at - start):,.0f} messages/s of {len(body)} bytes")


def _drain(client: socket.socket) -> None:
    with suppress(OSError):
        while client.recv(_AT_ONCE):
            pass


def main() -> None:
    """Serve until the standard input ends."""
    if "--check" in sys.argv:
        check()
        return
    sink = Sink()
    questions = (sink.expect, sink.wait, sink.arrivals, sink.verify)
    answer_requests({question.__name__: question for question in questions}, ports=sink.ports)


if __name__ == "__main__":
    main()
