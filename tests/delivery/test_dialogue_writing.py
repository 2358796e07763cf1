"""What a dialogue writes that doesn't fit into the system's buffers at once."""

import socket
from concurrent.futures import ThreadPoolExecutor

from mailqueue.delivery.smtp.dialogue import Dialogue

PARTS = [b"first " * 5000, b"", b"second " * 30000, b".\r\n", b"MAIL FROM:<>\r\n"]


def all_of(connected: socket.socket) -> bytes:
    received = b""
    while found := connected.recv(3000):
        received += found
    return received


def test_what_is_sent_in_pieces_arrives_whole():
    """Each byte is written once and in its order, however little of it the system takes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        mine = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    mine.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with theirs, ThreadPoolExecutor() as threads:
        received = threads.submit(all_of, theirs)
        with mine:
            Dialogue(mine).write(*PARTS, timeout=30)
        assert received.result(30) == b"".join(PARTS)
