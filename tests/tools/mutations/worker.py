"""Mutations of what a worker does besides tasks."""

from .row import of

MUTATIONS = [
    *of(
        "worker/consumer",
        "worker/test_consumer.py",
        (" if taker.consuming_from(queue))", ")"),
        ("if not consumer.connection or taker is None:", "if taker is None:"),
    ),
    *of(
        "worker/flag",
        "worker/test_flag.py",
        ("mmap.mmap(-1, 1)", "bytearray(1)"),
        ("        self._byte[0] = 0\n", "        pass\n"),
    ),
    *of(
        "worker/greenlets",
        "worker/test_greenlets.py",
        (" or (is_ending and state.active_requests):", ":"),
        ("if not consumer.connection or len(", "if len("),
        (" or len(state.active_requests) >= consumer.pool.limit:", ":"),
        (" or not self.may_take_tasks():", ":"),
        (
            "Stall(self._rounds_seen), Stall(self._unanswered_since)",
            "(Stall(self._rounds_seen),) * 2",
        ),
        ("            stall.forget()\n", "            pass\n"),
        ("stall.found(limit + _ROUND)", "stall.found(limit)"),
        ("hub.parent.throw, loss()", "hub.throw, loss()"),
    ),
    *of(
        "worker/pool",
        "system/test_worker_pools.py",
        ("if socket.socket.__module__ == socket.__name__:", "if False:"),
        ('.endswith("eventlet")', '.endswith("gevent")'),
    ),
    *of(
        "worker/queues",
        "worker/test_queues.py",
        ("if journal.queue != self._queue:", "if True:"),
        ("if others and not is_over and", "if others and"),
        ("                if not is_over:\n", "                if True:\n"),
    ),
    *of(
        "worker/signals",
        "system/test_signals.py system/test_own_celery_app.py",
        (
            "    stopping.set()\n",
            "    pass\n",
            "system/test_signals.py::test_a_worker_may_hear_the_second_while_it_handles_the_first",
        ),
        (
            "kind = GreenWatchdog if is_gevent else Watchdog",
            "kind = Watchdog",
            "faults/test_silence.py::test_a_worker_takes_tasks_again_after_a_loss_that_nobody_told",
        ),
        (
            "if queues._consume_from is None:",
            "if True:",
            "system/test_own_celery_app.py::test_mail_can_have_workers_of_its_own",
        ),
        (
            "limit = instance.pool.options.pop(option, None)",
            "limit = instance.pool.options.get(option)",
            "system/test_own_celery_app.py::test_no_time_limit_ends_a_task_that_sends",
        ),
        (
            "        sys.exit(f\"mailqueue: MAILQUEUE['BACKEND'] = {",
            "        _log.error(f\"mailqueue: MAILQUEUE['BACKEND'] = {",
            "system/test_worker_start.py::test_a_worker_refuses_to_start_without_a_backend",
        ),
        (
            "        sys.argv = sys.orig_argv[1:]\n",
            "        pass\n",
            "system/test_worker_start.py::test_a_hang_up_starts_a_worker_anew",
        ),
        (
            "    if lifeline:\n",
            "    if False:\n",
            "system/test_up.py::test_a_worker_does_not_outlive_a_killed_up",
        ),
    ),
    *of(
        "worker/task",
        "worker/test_task_options.py",
        ("acks_late = False", "acks_late = None"),
        ("time_limit = soft_time_limit = rate_limit = 0", "time_limit = soft_time_limit = 0"),
        ("def annotate(cls)", "def no_annotate(cls)"),
        ("def on_bound(cls, app: Celery)", "def no_on_bound(cls, app: Celery)"),
    ),
    *of(
        "worker/timer",
        "system/test_retention.py faults/test_operations.py faults/test_worker_death.py",
        (
            "limit = self._limit() if self._may_publish() else 0",
            "limit = self._limit()",
            "system/test_timers.py::test_a_timer_that_can_not_publish_leaves_what_is_due_to_others",
        ),
        (
            "            self._failures = 0\n            return\n",
            "            return\n",
            "",
            "it only asks for the broker once more",
        ),
        ("config.KEEP_SENT if state is State.SENT else config.KEEP_FAILED", "config.KEEP_SENT"),
    ),
    *of(
        "worker/watchdog",
        "worker/test_watchdog.py",
        (
            "if is_deaf and self._was_deaf:",
            "if False:",
            "worker/test_watchdog.py::test_two_looks_that_find_the_same_have_it_connect_anew",
        ),
        (
            "if state.active_requests and self._runs_tasks_in_main_thread():",
            "if False:",
            "worker/test_watchdog.py::test_a_task_in_the_main_thread_may_take_as_long_as_it_likes",
        ),
        ("        end_connection(wait.socket)\n", ""),
        ("_LONGEST_WAIT_AT_END if in_haste else _LONGEST_WAIT\n", "_LONGEST_WAIT\n"),
        (
            "if is_deaf and self._was_deaf:",
            "if is_deaf:",
            "worker/test_watchdog.py::test_two_looks_that_find_the_same_have_it_connect_anew",
        ),
    ),
    *of(
        "worker/spool",
        "faults/test_spool_place.py",
        (
            "            self._has_complained = True\n",
            "",
            "faults/test_spool_place.py::test_a_worker_without_a_spool_says_so_once",
        ),
        (
            "                self._note()\n",
            "",
            "faults/test_spool_place.py::test_a_worker_of_another_directory_sends_what_was_spooled",
        ),
    ),
    *of(
        "worker/stall",
        "worker/test_stall.py",
        ("if seen != self._seen:", "if self._seen is None:"),
        ("            return Wait(number, _switches(task))", "            return Wait(number, 0)"),
        ("        same.shutdown(socket.SHUT_RDWR)", "        pass"),
    ),
    *of(
        "worker/steps",
        "faults/test_silence.py",
        ('**options, "retry": False', "**options"),
    ),
]
