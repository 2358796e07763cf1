"""Mutations of what delivers: batches, decisions, connections, the breaker, the task."""

from .row import of

MUTATIONS = [
    *of(
        "delivery/executor",
        "contracts/transports/test_trouble.py faults/test_worker_death.py",
        (
            "if claim.token in self._stale:",
            "if False:",
            "contracts/transports/test_commits.py::test_among_others_it_stops_none_of_them",
        ),
        (
            "elif not self._goes_on_with(message):",
            "elif False:",
            "contracts/transports/test_commits.py::test_a_result_is_on_record_while_the_next_reply_is_awaited",
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
            "if self._stopping() and not (self._committed or self._has_begun(message)):",
            "if self._stopping():",
            "delivery/test_ahead.py::test_a_worker_that_is_to_stop_sends_what_has_begun_and_no_more",
        ),
        (
            "State.UNCERTAIN, reason, earlier, self._policy.doubt",
            "State.UNCERTAIN, reason, {}, self._policy.doubt",
            "faults/test_window.py::test_ten_results_outlast_a_journal_that_is_away",
        ),
        (
            "give_back(claim, _WITHOUT_KEY,",
            "give_back(claim, 0,",
            "integration/test_sealing.py::test_a_message_whose_key_is_missing_waits",
        ),
        (
            "if following is None or following.claim.is_suspect:",
            "if following is None:",
            "delivery/test_ahead.py::test_a_suspect_is_not_touched_before_the_result_before_it_is_on_record",
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
            "delivery/test_ahead.py::test_a_worker_that_is_to_stop_sends_what_has_begun_and_no_more",
        ),
        (
            "if following is None or following.claim.is_suspect:",
            "if following is None:",
            "delivery/test_ahead.py faults/test_window.py",
        ),
        (
            "claims, self.left = taking()",
            "claims, _ = taking()",
            "integration/test_tasks.py::test_what_is_left_when_a_task_is_full_gets_another",
        ),
        (
            "if ends or self.stopping():",
            "if ends:",
            "",
            "what a worker that is to stop takes goes back at once, untried",
        ),
    ),
    *of(
        "delivery/outcome",
        "contracts/transports/test_trouble.py",
        (
            "if 200 <= self.code < 300:",
            "if self.code in (250, 251):",
            "unit/test_outcome.py::test_the_first_digit_decides",
        ),
        (
            "500 <= self.code < 600",
            "500 < self.code < 600",
            "unit/test_outcome.py::test_the_first_digit_decides",
        ),
        (
            'return "".join(c if c.isprintable()',
            "return line  # ",
            "unit/test_outcome.py::test_a_reply_is_one_line_that_a_terminal_shows",
        ),
    ),
    *of(
        "delivery/retry",
        "unit/test_retry.py unit/test_retry_recipients.py",
        (
            "if tries > len(policy.delays):",
            "if tries >= len(policy.delays):",
            "unit/test_retry.py::test_the_table_of_decisions",
        ),
        (
            "age + delay <= policy.max_age",
            "age <= policy.max_age",
            "unit/test_retry.py::test_the_table_of_decisions",
        ),
        (
            "policy.delays[tries - 1]",
            "policy.delays[0]",
            "unit/test_retry.py::test_the_table_of_decisions",
        ),
        (
            "(1 - JITTER + 2 * JITTER * chance)",
            "(1 + 2 * JITTER * chance)",
            "unit/test_retry.py::test_the_table_of_decisions",
        ),
        (
            "(for_now and not may_wait)",
            "for_now",
            "unit/test_retry.py::test_the_table_of_decisions",
        ),
        (
            "doubt = policy.doubt if delay is not None else None",
            "doubt = policy.doubt",
            "unit/test_retry.py::test_the_table_of_decisions",
        ),
        (
            "State.SENT if all(sent)",
            "State.SENT if any(sent)",
            "unit/test_retry.py::test_each_recipient_has_to_be_served",
        ),
        (
            "answer.verdict is not Verdict.ACCEPTED:",
            "answer.verdict is Verdict.REFUSED:",
            "unit/test_retry.py::test_the_table_of_decisions",
        ),
        (
            "return max(answers, key",
            "return min(answers, key",
            "unit/test_retry.py::test_each_recipient_keeps_the_reply_that_decided_about_it",
        ),
        (
            "results = dict(earlier)",
            "results = {}",
            "unit/test_retry.py::test_each_recipient_has_to_be_served",
        ),
        (
            "if earlier or not recipients or",
            "if not recipients or",
            "unit/test_retry.py::test_each_recipient_has_to_be_served",
        ),
    ),
    *of(
        "delivery/connection",
        "contracts/transports/test_trouble.py faults/test_window.py",
        (
            "if not (was_kept or isinstance(trouble, ChunkingRefused)):",
            "if not was_kept:",
            "unit/test_turns.py::test_a_server_that_refuses_bdat_gets_data_at_once",
        ),
        (
            "return self._messages >= self._limits.max_messages or self._is_old()",
            "return self._is_old()",
            "contracts/transports/test_commits.py::test_a_connection_carries_no_more_messages_than_it_may",
        ),
        (
            "was_kept = kept is not None and self._lost is kept",
            "was_kept = kept is not None",
            "contracts/transports/test_trouble.py::test_a_new_connection_that_is_lost_too_is_news",
        ),
    ),
    *of(
        "delivery/gate/breaker.lua",
        "contracts/test_breaker.py contracts/test_breaker_shared.py",
        (
            "math.max(number('not_before'), number('probe')) - now",
            "number('not_before') - now",
            "contracts/test_breaker.py::test_of_many_that_ask_exactly_one_may_try",
        ),
        (
            "if answer[1] == 0 and answer[2] > 0 then",
            "if answer[1] == 0 then",
            "contracts/test_breaker_shared.py::test_a_closed_breaker_keeps_nobody_away",
        ),
        (
            "if is_new or number('not_before') <= now then",
            "if true then",
            "contracts/test_breaker.py::test_failures_of_workers_that_had_begun_before_are_one",
        ),
        ("if is_new or number('not_before') <= now then", "if number('not_before') <= now then"),
        (
            "2 ^ math.min(failures - 1, 30)",
            "2 ^ math.min(failures, 30)",
            "contracts/test_breaker.py::test_each_failure_doubles_the_pause_up_to_a_limit",
        ),
        (
            "tonumber(longest))",
            "1e15)",
            "contracts/test_breaker.py::test_each_failure_doubles_the_pause_up_to_a_limit",
        ),
        ("    redis.call('HDEL', key, 'probe')\n    redis", "    redis"),
        ("    redis.call('PEXPIRE', key, KEPT)\n", ""),
        (
            "  if number('alarm') == 0 then return 0 end\n",
            "",
            "contracts/test_breaker.py::test_a_start_may_try_at_once_what_was_our_mistake",
        ),
        (
            "now + tonumber(patience)",
            "now + 3600000",
            "contracts/test_breaker.py::test_a_worker_that_dies_while_it_tries_does_not_end_all_tries",
        ),
        (
            "redis.call('HSETNX', key, 'since', now)",
            "redis.call('HSET', key, 'since', now)",
            "contracts/test_breaker_shared.py::test_trouble_began_with_its_first_failure",
        ),
    ),
    *of(
        "delivery/gate/breaker",
        "contracts/test_breaker.py contracts/test_breaker_shared.py",
        ("if isinstance(trouble, Misconfigured):", "if False:"),
        (
            "self._trying = not view.closed and not view.wait",
            "self._trying = False",
            "contracts/test_breaker.py::test_success_closes_it_for_all",
        ),
        (
            "return self._local.ask()",
            'return View(0, True, "")',
            "contracts/test_breaker_shared.py::test_without_the_journal_a_worker_that_failed_asks_in_vain",
        ),
        (
            "self._failures, self._not_before = 0, 0.0\n\n\nclass",
            "self._not_before = 0.0\n\n\nclass",
            "contracts/test_breaker.py::test_without_the_journal_a_worker_has_its_own",
        ),
        (
            "self._trying or not (view.closed or view.wait)",
            "self._trying",
            "contracts/test_breaker.py::test_a_connection_that_works_closes_the_breaker_too",
        ),
        (
            "min(first * 2 ** min(self._failures, 30), longest)",
            "first",
            "contracts/test_breaker.py::test_the_local_one_doubles_its_pause_too",
        ),
        (
            "min(int(wait) / 1000, _ASK_AGAIN)",
            "int(wait) / 1000",
            "contracts/test_breaker.py::test_a_failure_of_one_worker_keeps_all_away",
        ),
        (
            "self._sealer.seal(trouble.reply)",
            "trouble.reply",
            "contracts/test_breaker_shared.py::test_what_a_server_said_is_sealed",
        ),
    ),
    *of(
        "tasks",
        "integration/test_tasks.py",
        (
            "max(settings.MAILQUEUE.BATCH_SIZE - len(items), 0)",
            "settings.MAILQUEUE.BATCH_SIZE",
            "integration/test_tasks.py::test_what_is_left_when_a_task_is_full_gets_another",
        ),
        (
            "        publish(journal.queue, [])",
            "        pass",
            "integration/test_tasks.py::test_what_is_left_when_a_task_is_full_gets_another",
        ),
        (
            "    time_limit=0,\n",
            "",
            "unit/test_task_options.py::test_a_task_that_delivers_has_all_the_time",
        ),
        (
            "    acks_late=False,\n",
            "    acks_late=True,\n",
            "unit/test_task_options.py::test_a_task_that_delivers_comes_once",
        ),
        (
            "tally = {} if connection.is_paused() else dict(",
            "tally = dict(",
            "integration/test_task_pause.py::test_a_task_claims_nothing_for_a_mailer_that_is_left_alone",
        ),
        (
            "        journal.put_back([item.id for item in items])",
            "        pass",
            "integration/test_task_pause.py::test_what_a_task_could_not_send_is_due_at_once",
        ),
    ),
    *of(
        "delivery/housekeeper",
        "unit/test_housekeeper.py",
        (
            "self._process != os.getpid():",
            "not self._process:",
            "unit/test_housekeeper.py::test_a_process_that_was_forked_has_a_thread_of_its_own",
        ),
        (
            "self._duties.discard(duty)",
            "pass",
            "unit/test_housekeeper.py::test_a_duty_is_done_until_it_is_removed",
        ),
        (
            "except Exception:  # noqa: BLE001\n",
            "except OSError:\n",
            "unit/test_housekeeper.py::test_a_duty_that_fails_ends_no_other",
        ),
    ),
]
