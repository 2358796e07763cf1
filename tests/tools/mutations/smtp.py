"""Mutations of what speaks SMTP: transports, sessions, dialogues, transactions."""

from .row import of

MUTATIONS = [
    *of(
        "delivery/smtp/bdat",
        "contracts/transports/test_under_way.py faults/test_window.py",
        (
            "[t for t, may_go in zip(turns, allowed, strict=True) if may_go]",
            "turns",
            "contracts/transports/test_commits.py::test_among_others_it_stops_none_of_them",
        ),
        (
            "if not turn.commit()[0]:",
            "if turn.commit() is None:",
            "delivery/test_turns_content.py::test_a_message_that_another_worker_has_is_not_ended",
        ),
        (
            "and reply.verdict is not Verdict.ACCEPTED and not is_known:",
            "and False:",
            "delivery/test_turns.py::test_a_server_that_refuses_bdat_gets_data_at_once",
        ),
        (
            "self._try_out(transaction, first)",
            "self._session.begin(transaction, first)",
            "contracts/transports/test_own_mistakes.py::test_a_proxy_that_drops_all_at_bdat_is_known_by_it",
        ),
        (
            "if is_refusal(reply) or (self._reset or said) != said:",
            "if False:",
            "contracts/transports/test_nonsense.py::test_a_line_too_many_between_messages_makes_none_of_them_sent",
        ),
        (
            "parts = [encode(commands), data, encode([_RSET])]",
            'parts = [encode(commands), data + b" ", encode([_RSET])]',
            "contracts/transports/test_under_way.py::test_a_message_is_one_write",
        ),
    ),
    *of(
        "delivery/smtp/data",
        "contracts/transports/test_trouble.py contracts/test_ahead.py",
        (
            "elif transaction.outgoing is not turn.outgoing:",
            "elif False:",
            "delivery/test_turns.py::test_no_content_goes_with_another_messages_envelope",
        ),
        (
            "if not turn.commit(meanwhile=end)[0]:",
            "if turn.commit(meanwhile=end) is None:",
            "delivery/test_turns_content.py::test_a_message_that_another_worker_has_is_not_ended",
        ),
        (
            'Verdict.IN_DOUBT, f"no reply to the final dot',
            'Verdict.DEFERRED, f"no reply to the final dot',
            "delivery/test_turns.py::test_the_reply_to_the_end_decides",
        ),
        (
            'data.replace(b"\\r\\n.", b"\\r\\n..")',
            "data",
            "delivery/test_turns_content.py::test_dots_arrive_as_they_were_written",
        ),
        (
            "        if reply.code == SERVICE_NOT_AVAILABLE:\n            raise",
            "        if False:\n            raise",
            "delivery/test_turns.py::test_a_421_is_about_the_server",
        ),
        (
            "if not (reply.verdict is Verdict.ACCEPTED or is_refusal(reply)):",
            "if False:",
            "delivery/test_turns.py::test_the_reply_to_the_end_decides",
        ),
        (
            "        if is_open:\n",
            "        if False:\n",
            "delivery/test_turns.py::test_nothing_is_sent_to_nobody",
        ),
        (
            "following = turn.ahead() if room > 1 else None\n        if following is not None and",
            "following = turn.ahead()\n        if following is not None and",
            "delivery/test_turns_content.py::test_the_next_envelope_goes_along_where_it_may",
        ),
        (
            "return self._session.pipelines and",
            "return",
            "delivery/test_turns_content.py::test_the_next_envelope_goes_along_where_it_may",
        ),
        (
            "        elif self._session.dialogue.has_unread():\n",
            "        elif False:\n",
            "contracts/transports/test_nonsense.py::test_a_line_that_nobody_asked_for_is_never_read_as_an_answer",
        ),
    ),
    *of(
        "delivery/smtp/dialogue",
        "contracts/test_replies.py contracts/transports/test_extensions.py",
        ('Reply(int(code), _text(text)), separator != b"-"', "Reply(int(code), _text(text)), True"),
        ("_LONGEST_LINE or len(texts) > _MOST_LINES", "_LONGEST_LINE"),
        (
            "left.append(part[sent:])",
            "left.append(part)",
            "delivery/test_dialogue_writing.py::test_what_is_sent_in_pieces_arrives_whole",
        ),
    ),
    *of(
        "delivery/smtp/session",
        "contracts/test_replies.py contracts/transports/test_extensions.py",
        ("usual if timeout is None or phase is Phase.DOT else", "usual if timeout is None else"),
        (
            "if envelope is None or known is not outgoing:",
            "if envelope is None:",
            "contracts/test_ahead.py::test_no_claim_runs_out_and_no_result_waits_while_nobody_wants_a_message",
        ),
        (
            "0 < int(limit) < len(envelope.data)",
            "0 <= int(limit) < len(envelope.data)",
            "delivery/test_size_limit.py::test_a_message_is_as_large_as_the_server_allows",
        ),
        (
            "0 < int(limit) < len(envelope.data)",
            "0 < int(limit) < 0",
            "delivery/test_size_limit.py::test_a_message_is_as_large_as_the_server_allows",
        ),
        (
            'if envelope.needs_smtputf8 and not self.offers("smtputf8"):',
            "if False:",
            "delivery/test_turns_content.py::test_an_address_outside_ascii_needs_a_server_for_it",
        ),
        (
            "COMMANDS_AT_ONCE if self.pipelines else 1",
            "COMMANDS_AT_ONCE",
            "delivery/test_turns.py::test_commands_go_ahead_only_where_the_server_offers_that",
        ),
        (
            "    if reply.code == SERVICE_NOT_AVAILABLE:\n        raise",
            "    if False:\n        raise",
            "delivery/test_turns.py::test_a_421_is_about_the_server",
        ),
        (
            "if phase is Phase.MAIL and reply.code in LOGIN_WANTED:",
            "if False:",
            "delivery/test_turns_content.py::test_a_login_that_is_wanted_for_mail_is_our_own_mistake",
        ),
        (
            "if phase is Phase.MAIL and reply.code in LOGIN_WANTED:",
            "if reply.code in LOGIN_WANTED:",
            "delivery/test_turns_content.py::test_a_login_that_is_wanted_for_mail_is_our_own_mistake",
        ),
        (
            'seven_bit=not self.offers("8bitmime")',
            "seven_bit=False",
            "delivery/test_turns_content.py::test_a_content_is_in_eight_bits_where_the_server_takes_that",
        ),
        (
            'options += " BODY=8BITMIME"',
            "pass",
            "contracts/transports/test_content.py::test_with_8bitmime_eight_bits_are_announced",
        ),
        (
            'options += f" SIZE={len(envelope.data)}"',
            "pass",
            "contracts/transports/test_extensions.py::test_a_server_that_names_no_limit_is_given_the_size",
        ),
    ),
    *of(
        "delivery/smtp/transaction",
        "contracts/test_replies.py contracts/transports/test_outcomes.py",
        (
            "for spelling in self.envelope.spellings[address]",
            "for spelling in self.envelope.spellings[address][:1]",
            "delivery/test_turns_content.py::test_a_mailbox_that_is_spelled_twice_has_two_answers",
        ),
        (
            "accepted if answer.verdict is Verdict.ACCEPTED else answer",
            "accepted",
            "delivery/test_turns.py::test_those_beyond_the_servers_limit_are_left",
        ),
    ),
    *of(
        "delivery/smtp/transport",
        "contracts/transports/test_trouble.py contracts/transports/test_extensions.py",
        (
            "        if self._way.is_amid():\n            self.drop()",
            "        if False:\n            self.drop()",
            "delivery/test_turns_content.py::test_the_next_envelope_goes_along_where_it_may",
        ),
        (
            "in_flight > 1 and may_chunk(session)",
            "may_chunk(session)",
            "contracts/transports/test_under_way.py::test_bdat_is_for_several_messages_under_way",
        ),
        (
            "ByChunks(session, in_flight) if chunks else",
            "",
            "contracts/transports/test_under_way.py::test_a_message_is_one_write",
        ),
    ),
]
