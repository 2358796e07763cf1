"""Mutations of what delivers: batches, decisions, connections."""

from .row import of

MUTATIONS = [
    *of(
        "delivery/backend",
        "contracts/test_backend_transport.py contracts/test_backend_exceptions.py",
        (
            "if not turn.commit()[0]:",
            "if turn.commit() is None:",
            "contracts/test_backend_transport.py::test_a_message_that_another_worker_took_over_is_never_handed_to_the_backend",
        ),
        (
            "            message = for_the_rest(message, recipients)\n",
            "",
            "contracts/test_backend_transport.py::test_each_recipient_gets_what_the_exception_says_of_it",
        ),
        (
            "if sent or sent is None:",
            "if sent:",
            "contracts/test_backend_transport.py::test_a_backend_that_returns_nothing_and_raises_nothing_has_sent_the_message",
        ),
        (
            "self._backend.fail_silently = False",
            "pass",
            "contracts/test_backends_that_deliver.py::test_a_mailer_that_fails_silently_delivers_aloud",
        ),
        (
            'return Answer(Verdict.REFUSED, "cancelled by',
            'return Answer(Verdict.DEFERRED, "cancelled by',
            "contracts/test_backends_by_anymail.py::test_what_a_receiver_of_pre_send_cancels_is_not_tried_again",
        ),
        (
            'if status == "unknown" and was_refused:',
            "if False:",
            "contracts/test_backends_by_anymail.py::test_what_the_service_says_is_on_record",
        ),
        (
            '"rejected": Verdict.REFUSED',
            '"rejected": Verdict.DEFERRED',
            "contracts/test_backends_by_anymail.py::test_what_the_service_says_is_on_record",
        ),
        (
            "            self._failed = True\n",
            "",
            "contracts/test_backend_transport.py::test_a_backend_that_raised_is_opened_anew_for_the_next_message",
        ),
        (
            "return one_call or isinstance(trouble, Misconfigured)",
            "return True",
            "contracts/test_backend_exceptions.py::test_trouble_of_one_of_several_servers_costs_an_attempt",
        ),
        (
            "self.close()  # it may be open by half, as where the login was refused",
            "pass",
            "contracts/test_backend_transport.py::test_a_backend_that_can_not_be_opened_sends_nothing_and_fails_nothing",
        ),
    ),
    *of(
        "delivery/batch",
        "contracts/test_batch.py",
        (
            "_CLAIM_AT_ONCE = 8",
            "_CLAIM_AT_ONCE = 800",
            "contracts/test_batch.py::test_no_more_than_ten_wait_for_those_before_them",
        ),
        (
            "deque({item.id: item for item in items}.values())",
            "deque(items)",
            "",
            "the journal claims a message once, however often it is named",
        ),
        (
            "self._lingers = len(self._waiting) == 1",
            "self._lingers = True",
            "contracts/test_batch.py::test_a_task_waits_for_no_more",
        ),
        (
            "len(self._claimed) >= _FEW or self.stopping()",
            "len(self._claimed) >= _FEW",
            "contracts/test_batch.py::test_a_worker_that_is_to_stop_asks_for_no_more",
        ),
        (
            "extendleft(reversed(items[looked_at:]))",
            "extendleft(items[looked_at:])",
            "contracts/test_batch.py::test_a_message_that_lost_its_worker_is_claimed_alone",
        ),
        (
            "found_none = since == -math.inf",
            "found_none = False",
            "contracts/test_batch.py::test_a_task_that_nobody_joined_leaves_those_that_come_to_their_own_task",
        ),
        (
            "self._room -= len(claims)",
            "pass",
            "contracts/test_batch.py::test_a_task_waits_for_no_more",
        ),
        (
            "min(self._ends_at, now + _LASTS)",
            "now + _LASTS",
            "contracts/test_batch.py::test_a_task_ends_however_often_it_asks",
        ),
        (
            "[address for address in self.recipients if address not in earlier]",
            "self.recipients",
            "contracts/transports/test_outcomes.py::test_each_recipient_gets_what_its_own_reply_said",
        ),
        (
            "if self.claim.is_suspect or self._batch.stopping():",
            "if self._batch.stopping():",
            "contracts/transports/test_under_way.py::test_a_message_that_lost_a_worker_goes_alone",
        ),
        (
            "if self.claim.is_suspect or self._batch.stopping():",
            "if self.claim.is_suspect:",
            "contracts/test_ahead.py::test_a_worker_that_is_to_stop_sends_what_has_begun_and_no_more",
        ),
        (
            "if following is None or following.claim.is_suspect:",
            "if following is None:",
            "contracts/test_ahead.py faults/test_window.py",
        ),
        (
            "claims, self.left = taking()",
            "claims, _ = taking()",
            "system/test_tasks.py::test_what_is_left_when_a_task_is_full_gets_another",
        ),
        (
            "if ends or self.stopping():",
            "if ends:",
            "",
            "what a worker that is to stop takes goes back at once, untried",
        ),
    ),
    *of(
        "delivery/connection",
        "contracts/transports/test_trouble.py faults/test_window.py",
        (
            "if isinstance(trouble, ChunkingRefused):",
            "if False:",
            "delivery/test_turns.py::test_a_server_that_refuses_bdat_gets_data_at_once",
        ),
        (
            "self._breaker.note_no_chunks()",
            "pass",
            "contracts/transports/test_own_mistakes.py::test_a_server_that_can_not_do_what_it_offers_is_asked_once",
        ),
        (
            "            self._breaker.note_accepted()\n",
            "",
            "contracts/transports/test_own_mistakes.py::test_once_somebody_was_accepted_a_refusal_is_the_recipients_own",
        ),
        (
            "            blame = self._breaker.note_refusal(outgoing.id)\n",
            "            blame = Blame.OURS\n",
            "contracts/transports/test_own_mistakes.py::test_one_recipient_that_is_not_relayed_to_keeps_nobody_waiting",
        ),
        (
            '({SEE_LOGIN})"), _LOOK_AGAIN)',
            '({SEE_LOGIN})"))',
            "contracts/transports/test_own_mistakes.py::test_other_recipients_behind_an_alarm_get_their_turn",
        ),
        (
            "        if blame is Blame.DOUBTFUL:\n            raise Withheld",
            "        if False:\n            raise Withheld",
            "contracts/transports/test_own_mistakes.py::test_a_server_that_relays_for_nobody_fails_nobody",
        ),
        (
            "return self._messages >= self._limits.max_messages or self._is_over()",
            "return self._is_over()",
            "contracts/transports/test_commits.py::test_a_connection_carries_no_more_messages_than_it_may",
        ),
        (
            "was_kept = kept is not None and self._lost is kept",
            "was_kept = kept is not None",
            "contracts/transports/test_trouble.py::test_a_new_connection_that_is_lost_too_is_news",
        ),
    ),
    *of(
        "delivery/diagnosis",
        "contracts/test_backend_exceptions.py contracts/test_backends_by_smtp.py",
        (
            "_NOT_NAMED = Answer(Verdict.IN_DOUBT,",
            "_NOT_NAMED = Answer(Verdict.DEFERRED,",
            "contracts/test_backend_exceptions.py::test_who_is_not_named_among_the_refused_is_in_doubt",
        ),
        (
            "if hundreds == 2 and not code:",
            "if hundreds == 2:",
            "contracts/test_backend_exceptions.py::test_an_exception_is_read_by_its_kind",
        ),
        (
            'return "" if status == "SUCCESS" else str(status)',
            "return str(status)",
            "contracts/test_backend_exceptions.py::test_an_exception_is_read_by_its_kind",
        ),
        (
            "_HTTP_OURS = {401, 402, 403, 407}",
            "_HTTP_OURS = {401, 402, 407}",
            "contracts/test_backend_exceptions.py::test_an_exception_is_read_by_its_kind",
        ),
        (
            "link = link.__cause__ or context",
            "link = None",
            "contracts/test_backend_exceptions.py::test_an_exception_is_read_by_its_kind",
        ),
        (
            "knows_better = found.is_lost and",
            "knows_better = False and",
            "contracts/test_backends_by_smtp.py::test_the_servers_replies_are_on_record",
        ),
        (
            "if not _NOT_REACHED.isdisjoint(names):",
            "if False:",
            "contracts/test_backend_exceptions.py::test_an_exception_is_read_by_its_kind",
        ),
    ),
    *of(
        "delivery/envelope",
        "delivery/test_turns_content.py",
        (
            "spellings.setdefault(envelope_address(recipient), []).append(recipient)",
            "spellings[envelope_address(recipient)] = [recipient]",
            "delivery/test_turns_content.py::test_a_mailbox_that_is_spelled_twice_has_two_answers",
        ),
        (
            "outgoing.id, seven_bit=seven_bit, utf8",
            "outgoing.id, seven_bit=False, utf8",
            "delivery/test_turns_content.py::test_a_content_is_in_eight_bits_where_the_server_takes_that",
        ),
        (
            'not "".join((sender, *spellings, *everyone)).isascii()',
            "not sender.isascii()",
            "delivery/test_turns_content.py::test_an_address_outside_ascii_needs_a_server_for_it",
        ),
    ),
    *of(
        "delivery/executor",
        "contracts/transports/test_trouble.py faults/test_worker_death.py",
        (
            "if claim.token in self._stale:",
            "if False:",
            "contracts/transports/test_commits.py::test_among_others_it_stops_none_of_them",
        ),
        (
            "self._stale.add(claim.token)",
            "pass",
            "contracts/transports/test_commits.py::test_among_others_it_stops_none_of_them",
        ),
        (
            "self._committed.pop(claim.id, None)  # it was surely not accepted",
            "pass",
            "faults/test_worker_death.py::test_a_421_for_a_reply_to_the_dot_costs_no_attempt",
        ),
        (
            "message = message.following or batch.late()",
            "message = message.following",
            "contracts/transports/test_under_way.py::test_the_next_envelope_comes_with_a_messages_end",
        ),
        (
            "(self._has_delivered and self._gives_way())",
            "self._gives_way()",
            "contracts/test_giving_way.py::test_a_task_that_gives_way_has_delivered_something",
        ),
        (
            "                self.rest.append(claim.id)\n",
            "",
            "contracts/test_giving_way.py::test_a_task_that_gives_way_has_delivered_something",
        ),
        (
            "            batch.hurry(levels)\n",
            "            pass\n",
            "contracts/test_giving_way.py::test_urgent_mail_goes_before_what_is_claimed_already",
        ),
        (
            "            if not self._stopping():\n                batch.leave()\n",
            "",
            "contracts/test_giving_way.py::test_nobody_joins_a_task_that_has_given_way",
        ),
        (
            "if self._is_to_end() and not (self._committed or self._has_begun(message)):",
            "if self._is_to_end():",
            "contracts/test_ahead.py::test_a_worker_that_is_to_stop_sends_what_has_begun_and_no_more",
        ),
        (
            "State.UNCERTAIN, reason, earlier, self._policy.doubt",
            "State.UNCERTAIN, reason, {}, self._policy.doubt",
            "faults/test_window.py::test_ten_results_outlast_a_journal_that_is_away",
        ),
        (
            "claim, _WITHOUT_KEY, str(error)",
            "claim, 0, str(error)",
            "system/test_sealing.py::test_a_message_whose_key_is_missing_waits",
        ),
        (
            "if following is None or following.claim.is_suspect:",
            "if following is None:",
            "contracts/test_ahead.py::test_a_suspect_is_not_touched_before_the_result_before_it_is_on_record",
        ),
        (
            "elif not self._goes_on_with(message):",
            "elif False:",
            "contracts/transports/test_commits.py::test_a_result_is_on_record_while_the_next_reply_is_awaited",
        ),
    ),
    *of(
        "delivery/faultpoint",
        "contracts/transports/test_trouble.py",
        (
            "    return bool(_chosen)",
            "    return True",
            "contracts/transports/test_under_way.py::test_a_message_is_one_write",
        ),
    ),
    *of(
        "delivery/housekeeper",
        "delivery/test_housekeeper.py",
        (
            "self._process != os.getpid():",
            "not self._process:",
            "delivery/test_housekeeper.py::test_a_process_that_was_forked_has_a_thread_of_its_own",
        ),
        (
            "self._duties.discard(duty)",
            "pass",
            "delivery/test_housekeeper.py::test_a_duty_is_done_until_it_is_removed",
        ),
        (
            "except Exception:  # noqa: BLE001\n",
            "except OSError:\n",
            "delivery/test_housekeeper.py::test_a_duty_that_fails_ends_no_other",
        ),
    ),
    *of(
        "delivery/opening",
        "contracts/test_connection.py",
        (
            "config.CONNECTION_MAX_AGE, config.CONNECTION_IDLE",
            "config.CONNECTION_IDLE, config.CONNECTION_MAX_AGE",
            "contracts/test_connection.py::test_the_limits_are_those_of_the_settings",
        ),
        (
            "    if config.USING is not None:\n        return config.USING\n",
            "",
            "contracts/test_connection.py::test_a_mailer_may_deliver",
        ),
        (
            "breaker=shared_breaker(),",
            "breaker=None,",
            "system/test_task_pause.py::test_a_task_claims_nothing_for_a_mailer_that_is_left_alone",
        ),
        (
            "        housekeeper.add(_close_idle_connections)\n",
            "",
            "contracts/test_connection.py::test_a_worker_closes_its_connection_while_it_sends_nothing",
        ),
    ),
    *of(
        "delivery/pool",
        "delivery/test_pool.py",
        ("connection = self._free.pop()", "connection = self._free.popleft()"),
        ("self._free.append if connection.is_open else self._free.appendleft", "self._free.append"),
        (
            "            connection = self._free.pop()\n",
            "            raise IndexError\n",
            "faults/test_pools.py::test_a_pool_has_no_more_connections_than_tasks_at_once",
        ),
        (
            "[*self._all]:\n            connection.close_if_idle()",
            "[*self._free]:\n            connection.close_if_idle()",
        ),
    ),
    *of(
        "delivery/outcome",
        "contracts/transports/test_trouble.py",
        (
            "if 200 <= self.code < 300:",
            "if self.code in (250, 251):",
            "delivery/test_outcome.py::test_the_first_digit_decides",
        ),
        (
            "500 <= self.code < 600",
            "500 < self.code < 600",
            "delivery/test_outcome.py::test_the_first_digit_decides",
        ),
        (
            'return "".join(c if c.isprintable()',
            "return line  # ",
            "delivery/test_outcome.py::test_a_reply_is_one_line_that_a_terminal_shows",
        ),
        (
            "left = some and reply.code in",
            "left = reply.code in",
            "delivery/test_turns.py contracts/test_replies.py",
        ),
        (
            "_TOO_MANY_RECIPIENTS = (452, 552)",
            "_TOO_MANY_RECIPIENTS = (452,)",
            "delivery/test_turns.py::test_those_beyond_the_servers_limit_are_left",
        ),
    ),
    *of(
        "delivery/rest",
        "delivery/test_rest.py",
        ("return whole.message(*args, **options)", "return kind.message(_self)"),
        ("if address in recipients])", "])"),
        ('if name == "cc" or len(addresses) == 1:', "if addresses:"),
        ('if getattr(message, "to", None) and not rest.to:', "if not rest.to:"),
        ("return _itself, (plain,)", "return _itself, (whole,)"),
    ),
    *of(
        "delivery/retry",
        "delivery/test_retry.py delivery/test_retry_recipients.py",
        (
            "if tries > len(policy.delays):",
            "if tries >= len(policy.delays):",
            "delivery/test_retry.py::test_the_table_of_decisions",
        ),
        (
            "age + delay <= policy.max_age",
            "age <= policy.max_age",
            "delivery/test_retry.py::test_the_table_of_decisions",
        ),
        (
            "policy.delays[tries - 1]",
            "policy.delays[0]",
            "delivery/test_retry.py::test_the_table_of_decisions",
        ),
        (
            "(1 - JITTER + 2 * JITTER * chance)",
            "(1 + 2 * JITTER * chance)",
            "delivery/test_retry.py::test_the_table_of_decisions",
        ),
        (
            "(for_now and not may_wait)",
            "for_now",
            "delivery/test_retry.py::test_the_table_of_decisions",
        ),
        (
            "policy.doubt if delay is not None else None",
            "policy.doubt",
            "delivery/test_retry.py::test_the_table_of_decisions",
        ),
        (
            "State.SENT if all(sent)",
            "State.SENT if any(sent)",
            "delivery/test_retry.py::test_each_recipient_has_to_be_served",
        ),
        (
            "answer.verdict is not Verdict.ACCEPTED:",
            "answer.verdict is Verdict.REFUSED:",
            "delivery/test_retry.py::test_the_table_of_decisions",
        ),
        (
            "return max(answers, key",
            "return min(answers, key",
            "delivery/test_retry.py::test_each_recipient_keeps_the_reply_that_decided_about_it",
        ),
        (
            "results = dict(earlier)",
            "results = {}",
            "delivery/test_retry.py::test_each_recipient_has_to_be_served",
        ),
        (
            "if earlier or not recipients or",
            "if not recipients or",
            "delivery/test_retry.py::test_each_recipient_has_to_be_served",
        ),
    ),
    *of(
        "delivery/refusal",
        "delivery/test_refusal.py",
        ("not outcome.is_whole or ", ""),
        ("any(a.verdict not in refusals for a in answers)", "False"),
        ("return max(_blame(", "return min(_blame("),
        ("code not in (0, _OUT_OF_ORDER) and", "code and"),
        ("if not encrypted and speaks_of_tls and", "if speaks_of_tls and"),
        ("if not encrypted and speaks_of_tls and", "if not encrypted and"),
        ("Blame.DOUBTFUL if turned_away and is_policy", "Blame.DOUBTFUL if is_policy"),
        ('_NAMED.sub(" ", match[2])', "match[2]"),
        ("(?:0|1|2|13|17|18)", "(?:0|1)"),
        ("code in _FOR_GOOD and not", "code and not"),
        (" and not _ENHANCED.search(reply)", ""),
    ),
    *of(
        "delivery/trouble",
        "contracts/test_backend_transport.py faults/test_worker_death.py system/test_breaker.py",
        (
            "Misconfigured(advice(reply)) if _is_ours(error) else ServerTrouble(reply)",
            "ServerTrouble(reply)",
        ),
        (
            "or isinstance(error, refused) or _is_no_tls(error)",
            "or isinstance(error, refused)",
            "mail/test_smtp_handshake.py::test_tls_from_the_start_to_a_server_without_it_is_our_mistake",
        ),
        (
            "not isinstance(error, _LOST) and",
            "",
            "mail/test_smtp_handshake.py::test_a_connection_that_ends_in_the_handshake_is_the_servers_trouble",
        ),
        (
            "bool(_BAD_NAME.match(reply)) or is_name_refused(reply)",
            "is_name_refused(reply)",
            "mail/test_smtp_handshake.py::test_a_name_that_is_refused_is_not_said_again_by_helo",
        ),
    ),
    *of(
        "delivery/witness",
        "contracts/test_backends_by_smtp.py contracts/transports/test_nonsense.py",
        (
            "return (_OK if 200 <= code < 300 else code), text",
            "return code, text",
            "contracts/test_backends_by_smtp.py::test_the_servers_replies_are_on_record",
        ),
        (
            "if self._writes >= _END_WRITTEN:",
            "if False:",
            "contracts/test_backends_by_smtp.py::test_the_servers_replies_are_on_record",
        ),
        (
            "answer_to_rcpt(reply, bool(self._accepted))",
            "answer_to_rcpt(reply, False)",
            "contracts/transports/test_outcomes.py::test_too_many_recipients_go_in_several_transactions",
        ),
        (
            "readable = not 300 <= reply.code < 400",
            "readable = True",
            "contracts/transports/test_nonsense.py::test_354_is_no_reply_to_the_end",
        ),
    ),
    *of(
        "delivery/fault",
        "contracts/test_whose_fault.py",
        (
            "return error.errno in _LACKING",
            "return False",
            "contracts/test_whose_fault.py::test_what_the_machine_lacks_costs_no_message_an_attempt",
        ),
        (
            "found = MachineTrouble(reason_of(error))",
            "pass",
            "contracts/test_whose_fault.py::test_a_file_that_a_message_can_not_have_is_no_fault_of_its",
        ),
        (
            "return error.errno not in (errno.EMFILE, errno.ENFILE)",
            "return True",
            "contracts/test_whose_fault.py::test_without_a_file_descriptor_no_certificate_is_taken_for_invalid",
        ),
    ),
    *of(
        "delivery/mishap",
        "contracts/test_whose_fault.py",
        ("            self._rest(trouble.reply)\n", "            pass\n"),
        (
            "counted >= _ENOUGH",
            "faults >= _ENOUGH",
            "contracts/test_whose_fault.py::test_an_error_of_all_messages_is_no_messages_fault",
        ),
        (
            "is_too_old = handed_over and",
            "is_too_old = False and",
            "contracts/test_whose_fault.py::test_what_was_handed_over_is_not_handed_over_for_ever",
        ),
        (
            "        if self._connection.has_recovered():",
            "        if False:",
            "contracts/test_whose_fault.py::test_what_the_machine_lacks_costs_no_message_an_attempt",
        ),
    ),
    *of(
        "delivery/executor",
        "contracts/test_whose_fault.py",
        (
            "            self._give_back_later(list(batch.claims.values()))\n",
            "",
            "contracts/test_whose_fault.py::test_what_can_not_be_given_back_at_once_is_given_back_before_its_lease_ends",
        ),
        (
            "                if not isinstance(error, Exception):\n",
            "                if False:\n",
            "contracts/test_whose_fault.py::test_a_process_that_ends_in_the_middle_counts_however_it_ends",
        ),
    ),
]
