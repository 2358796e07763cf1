"""An SMTP server that a test scripts line by line: for what a well-behaved server never does."""

from __future__ import annotations

import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType

CLOSE = b"<close>"  # in place of a reply: close the connection without a word
RESET = b"<reset>"  # in place of a reply: close it with a TCP reset
SILENCE = b""  # no reply at all


@dataclass
class Mail:
    """What one transaction brought."""

    sender: str = ""
    recipients: list[str] = field(default_factory=list)
    content: bytes = b""

    @property
    def message_id(self) -> str:
        return self.content.partition(b"Message-ID: ")[2].partition(b"\r\n")[0].decode()


# What to answer to a command, or None for the usual answer: (session, phase, command) -> reply.
Script = Callable[["Session", str, str], bytes | str | None]


class ScriptedServer:
    """Listens on a free port of this machine; answers as ``script`` says, else as servers do.

    Phases are ``connect``, ``EHLO``, ``MAIL``, ``RCPT``, ``DATA``, ``body`` (before the content, or
    a chunk after the first, is read), ``dot`` (also for the last chunk), ``BDAT`` (for the other
    chunks) and others by their verbs. After a message that nobody got it wants an RSET before the
    next MAIL. STARTTLS, where it is among the features, encrypts by the context ``tls``.
    """

    def __init__(self, script: Script = lambda *_: None, features: tuple[str, ...] = ()) -> None:
        self.script = script
        self.features = self._features = features
        self.tls: ssl.SSLContext | None = None
        self.accepted: list[Mail] = []
        self.commands: list[tuple[int, str]] = []
        self.bytes: dict[int, bytearray] = {}  # all that was read, by the session's number
        self.sessions = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        # What is accepted inherits it; to set it there fails where the client is gone already.
        self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port: int = self._listener.getsockname()[1]
        self._open: list[Session] = []
        self._threads: list[threading.Thread] = []

    def reset(self) -> None:
        """Close every connection, and be as at the beginning."""
        self.close_sessions()
        self.script = lambda *_: None
        self.features = self._features
        self.accepted.clear()
        self.commands.clear()
        self.bytes.clear()
        self.sessions = 0

    def narrow(self) -> None:
        """Have whoever connects from now on wait for what they write to be read.

        A system's buffer takes a few segments, and loopback's are of 64 kB.
        """
        self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1400)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)

    def verbs(self, session: int | None = None) -> list[str]:
        """The verbs that were received, in order."""
        return [c.split(" ")[0].upper() for n, c in self.commands if session in {None, n}]

    def say(self, unasked: bytes) -> None:
        """Say something over each connection that is open."""
        for session in self._open:
            session.socket.sendall(unasked)

    def has_been_left(self) -> bool:
        """Whether each client that came has closed its connection."""
        return self.sessions > 0 and all(session.socket.fileno() < 0 for session in self._open)

    def __enter__(self) -> ScriptedServer:
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # else it takes one more connection
        self._listener.close()
        self._thread.join(30)
        self.close_sessions()
        for thread in self._threads:
            thread.join(30)

    def close_sessions(self) -> None:
        """Close every connection without a word."""
        for session in self._open:
            with suppress(OSError):
                session.socket.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connected, _ = self._listener.accept()
                self.sessions += 1
                session = Session(self, connected, self.sessions)
                self._open.append(session)
                thread = threading.Thread(target=session.run, daemon=True)
                self._threads.append(thread)
                thread.start()


class Session:
    """One connection."""

    def __init__(self, server: ScriptedServer, connected: socket.socket, number: int) -> None:
        self.server = server
        self.socket = connected
        self.number = number
        self.mail = Mail()
        self._has_sender = False
        self._chunks = b""
        self._received = bytearray()

    def run(self) -> None:
        """Answer until either side closes."""
        try:
            with suppress(OSError, ValueError, _Closed):
                self._answer("connect", "", "220 scripted")
                while True:
                    command = self._line().decode("utf-8").rstrip("\r\n")
                    self.server.commands.append((self.number, command))
                    self._handle(command)
        finally:  # also where the script fails: else its client would wait for ever
            self.socket.close()

    def has_more(self) -> bool:
        """Whether the client has written more than was read."""
        return bool(self._received or select.select([self.socket], [], [], 0)[0])

    def peek(self) -> bytes:
        """What the client has written and nobody has read, as far as it is here."""
        if select.select([self.socket], [], [], 0)[0]:
            self._receive()
        return bytes(self._received)

    def _line(self) -> bytes:
        while (end := self._received.find(b"\n")) < 0:
            self._receive()
        line = bytes(self._received[: end + 1])
        del self._received[: end + 1]
        return line

    def _receive(self) -> None:
        found = self.socket.recv(65536)
        if not found:
            raise _Closed
        self._received += found
        self.server.bytes.setdefault(self.number, bytearray()).extend(found)

    def _handle(self, command: str) -> None:
        verb, _, argument = command.partition(" ")
        verb = verb.upper()
        if verb == "EHLO":
            lines = ["scripted", *self.server.features]
            text = "\r\n".join(f"250-{line}" for line in lines[:-1])
            self._answer(verb, command, (text + "\r\n" if text else "") + f"250 {lines[-1]}")
        elif verb == "STARTTLS" and self.server.tls is not None:
            if self._answer(verb, command, "220 go ahead").startswith(b"220"):
                self._encrypt(self.server.tls)
        elif verb == "MAIL" and self._has_sender:
            self._send(b"503 sender already given\r\n")
        elif verb == "MAIL":
            mail = Mail(argument.partition("<")[2].partition(">")[0])
            if self._answer(verb, command, "250 sender OK").startswith(b"250"):
                self.mail, self._has_sender = mail, True
        elif verb in {"RCPT", "DATA"} and not self._has_sender:
            self._send(b"503 MAIL first\r\n")
        elif verb == "RCPT":
            if self._answer(verb, command, "250 recipient OK").startswith(b"25"):
                self.mail.recipients.append(argument.partition("<")[2].partition(">")[0])
        elif verb == "DATA":
            if self._answer(verb, command, "354 go ahead").startswith(b"354"):
                self._content()
        elif verb == "BDAT":
            self._chunk(command)
        elif verb == "QUIT":
            self._answer(verb, command, "221 bye")
            raise _Closed
        else:
            if verb == "RSET":
                self.mail, self._has_sender, self._chunks = Mail(), False, b""
            self._answer(verb, command, "250 OK")

    def _content(self) -> None:
        self._answer("body", "", SILENCE)
        lines = []
        while (line := self._line()) != b".\r\n":
            lines.append(line.removeprefix(b"."))
        self._end(b"".join(lines))

    def _chunk(self, command: str) -> None:
        """A refused chunk, too, is read to its end (RFC 3030, 2)."""
        _, size, *last = command.upper().split(" ")
        if last or self._chunks:
            self._answer("body", command, SILENCE)
        while len(self._received) < int(size):
            self._receive()
        self._chunks += self._received[: int(size)]
        del self._received[: int(size)]
        if not self.mail.recipients:
            self._send(b"503 5.5.1 RCPT first\r\n")
        elif last == ["LAST"]:
            self._end(self._chunks)
        else:
            self._answer("BDAT", command, f"250 {size} bytes")

    def _end(self, content: bytes) -> None:
        mail, self._has_sender, self._chunks = self.mail, False, b""
        mail.content = content
        usual = "250 2.0.0 kept" if mail.recipients else "554 no valid recipients"
        # Known as accepted before the reply goes out, as a real server's spool is.
        reply = _bytes(self.server.script(self, "dot", ""), usual)
        if reply.startswith(b"250") or (reply in {CLOSE, RESET, SILENCE} and mail.recipients):
            self.server.accepted.append(mail)
        self.mail = Mail()
        self._send(reply)

    def _encrypt(self, tls: ssl.SSLContext) -> None:
        self._received.clear()
        self.socket = tls.wrap_socket(self.socket, server_side=True)

    def _answer(self, phase: str, command: str, usual: str | bytes) -> bytes:
        reply = _bytes(self.server.script(self, phase, command), usual)
        self._send(reply)
        return reply

    def _send(self, reply: bytes) -> None:
        if reply == RESET:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if reply in {CLOSE, RESET}:
            self.socket.close()
            raise _Closed
        # What a killed client had written before counts, though nobody waits for the replies.
        with suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(reply)


class _Closed(Exception):
    """The session is over."""


def _bytes(scripted: bytes | str | None, usual: bytes | str) -> bytes:
    reply = usual if scripted is None else scripted
    if isinstance(reply, str):
        return reply.encode() + b"\r\n"
    return reply
