"""Mutations of what speaks SMTP: transports, sessions, dialogues, transactions."""

from .row import of

MUTATIONS = [
    *of(
        "transport",
        "faults/test_worker_death.py faults/test_breaker.py",
        (
            "Misconfigured(reply) if _is_ours(error) else ServerTrouble(reply)",
            "ServerTrouble(reply)",
        ),
    ),
    *of(
        "smtp",
        "faults/test_wire.py faults/test_server.py",
        (
            "ByChunks(session, in_flight) if may_chunk(session) else",
            "",
            "faults/test_chunking.py::test_a_message_is_one_write",
        ),
    ),
    *of(
        "session",
        "faults/test_wire.py faults/test_server.py",
        ("usual if timeout is None or phase is Phase.DOT else", "usual if timeout is None else"),
        (
            "0 < int(limit) < len(envelope.data)",
            "0 <= int(limit) < len(envelope.data)",
            "unit/test_size_limit.py::test_a_message_is_as_large_as_the_server_allows",
        ),
    ),
    *of(
        "dialogue",
        "unit/test_dialogue.py faults/test_wire.py faults/test_server.py",
        ('Reply(int(code), _text(text)), separator != b"-"', "Reply(int(code), _text(text)), True"),
        (
            "left.append(part[sent:])",
            "left.append(part)",
            "unit/test_dialogue_writing.py::test_what_is_sent_in_pieces_arrives_whole",
        ),
    ),
    *of(
        "transaction",
        "faults/test_wire.py faults/test_chunking.py",
        ("left = some and reply.code in", "left = reply.code in"),
    ),
    *of(
        "pipelining",
        "faults/test_wire.py faults/test_ahead.py",
        (
            "elif transaction.outgoing is not turn.outgoing:",
            "elif False:",
            "unit/test_turns.py::test_no_content_goes_with_another_messages_envelope",
        ),
    ),
    *of(
        "chunking",
        "faults/test_chunking.py faults/test_window.py",
        (
            "[t for t, may_go in zip(turns, allowed, strict=True) if may_go]",
            "turns",
            "faults/test_window.py::test_a_message_that_another_worker_took_over_stops_no_other",
        ),
    ),
]
