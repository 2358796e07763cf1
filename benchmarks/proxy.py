"""A link with a distance: everything that passes takes half of a round trip, each way.

A program of its own, `python -m benchmarks.proxy SECONDS PORT…`: for each port it prints one of its
own. Each chunk leaves at its arrival plus the delay, whatever else is under way. Opening a
connection costs what it costs over such a link. A link has no bandwidth here, and no slow start.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque

from benchmarks.process import answer_requests


class Line:
    """One direction of a connection: what was said arrives later, in order."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._loop = asyncio.get_running_loop()
        self._under_way: deque[tuple[float, bytes]] = deque()
        self._target: asyncio.Transport | None = None

    def say(self, data: bytes) -> None:
        """Take what was said now; no bytes mean the end."""
        self._under_way.append((self._loop.time() + self._delay, data))
        # One timer for the oldest: timers for the same moment would fire in any order.
        if len(self._under_way) == 1 and self._target:
            self._wait()

    def lead_to(self, target: asyncio.Transport) -> None:
        """From now on there is somebody at the other end."""
        self._target = target
        if self._under_way:
            self._wait()

    def _wait(self) -> None:
        self._loop.call_at(self._under_way[0][0], self._arrive)

    def _arrive(self) -> None:
        assert self._target is not None
        now = self._loop.time()
        while self._under_way and self._under_way[0][0] <= now:
            _, data = self._under_way.popleft()
            if data:
                self._target.write(data)
            else:
                self._target.close()
        if self._under_way:
            self._wait()


class End(asyncio.Protocol):
    """One side of a connection: it says all that it hears to the line."""

    def __init__(self, line: Line) -> None:
        self.line = line

    def data_received(self, data: bytes) -> None:
        self.line.say(data)

    def connection_lost(self, _error: Exception | None) -> None:
        self.line.say(b"")


class Client(End):
    """The side that connects; the server hears of it one and a half round trips later."""

    def __init__(self, port: int, delay: float) -> None:
        super().__init__(Line(delay))
        self.port, self.delay = port, delay

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.opening = asyncio.ensure_future(self.open(transport))

    async def open(self, client: asyncio.Transport) -> None:
        # SYN, SYN-ACK and ACK, which the kernel has exchanged with this proxy in no time.
        await asyncio.sleep(3 * self.delay)
        back = Line(self.delay)
        back.lead_to(client)
        loop = asyncio.get_running_loop()
        server, _ = await loop.create_connection(lambda: End(back), "127.0.0.1", self.port)
        self.line.lead_to(server)


async def serve(ports: list[int], delay: float) -> None:
    """Forward until the standard input ends."""
    loop = asyncio.get_running_loop()
    own = []
    for port in ports:
        server = await loop.create_server(lambda p=port: Client(p, delay), "127.0.0.1", 0)
        own.append(server.sockets[0].getsockname()[1])
    await asyncio.to_thread(answer_requests, {}, ports=own)


if __name__ == "__main__":
    asyncio.run(serve([int(port) for port in sys.argv[2:]], float(sys.argv[1]) / 2))
