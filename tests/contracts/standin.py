"""A service that takes mail by HTTP: a local server, which answers what a test says."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, object] | None  # status and body, as JSON unless it is text; None: hang up


class StandIn(ThreadingHTTPServer):
    """Gives one answer after the other, the last one again and again; keeps what it was asked."""

    daemon_threads = False  # so that the end waits for them

    def __init__(self, answers: Sequence[Answer]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = list(answers)
        self.asked: list[Any] = []

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def handle_error(self, *_: object) -> None:
        """Who leaves in the middle, as where a certificate isn't good enough, is no error."""


class _Handler(BaseHTTPRequestHandler):
    server: StandIn

    def do_POST(self) -> None:
        server = self.server
        server.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        answer = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
        self.close_connection = True
        if answer is None:
            return
        status, body = answer
        content = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@contextmanager
def stand_in(*answers: Answer, tls: ssl.SSLContext | None = None) -> Iterator[StandIn]:
    """A service that answers so, for as long as the context lasts."""
    with StandIn(answers) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
