"""The oracle: an SMTP server as a process, which notes each Message-ID in a file before its 250.

Run it with `python -m tests.faults.long.sink FILE`; it prints its port.
"""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

MESSAGE_ID = re.compile(rb"^Message-ID:\s*<(.*)>", re.I | re.M)


class Sink(asyncio.Protocol):
    """Takes everything, at once; one message after the other, no pipelining."""

    def __init__(self, notes: Path) -> None:
        self.notes = notes.open("ab", buffering=0)
        self.buffer, self.in_data = b"", False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.say(b"220 sink")

    def connection_lost(self, error: Exception | None) -> None:
        self.notes.close()

    def say(self, line: bytes) -> None:
        self.transport.write(line + b"\r\n")

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := b"\r\n.\r\n" if self.in_data else b"\r\n") in self.buffer:
            taken, _, self.buffer = self.buffer.partition(end)
            if self.in_data:
                self.accept(taken)
            else:
                self.command(taken[:4].upper())

    def accept(self, content: bytes) -> None:
        self.in_data = False
        self.notes.write(MESSAGE_ID.search(content)[1] + b"\n")
        self.say(b"250 accepted")

    def command(self, verb: bytes) -> None:
        self.in_data = verb == b"DATA"
        self.say({b"DATA": b"354 go on", b"QUIT": b"221 bye"}.get(verb, b"250 ok"))
        if verb == b"QUIT":
            self.transport.close()


async def main(notes: Path) -> None:
    """Serve until killed."""
    loop = asyncio.get_running_loop()
    notes.touch()
    server = await loop.create_server(lambda: Sink(notes), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
