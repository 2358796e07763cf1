"""Mutations of what a worker does besides tasks."""

from .row import of

MUTATIONS = [
    *of(
        "worker/flag",
        "worker/test_flag.py",
        ("mmap.mmap(-1, 1)", "bytearray(1)"),
        ("        self._byte[0] = 0\n", "        pass\n"),
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
            "            if self._takes(journal.queue):\n",
            "            if True:\n",
            "system/test_worker_start.py::test_a_worker_looks_after_the_queues_that_it_takes",
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
            "if is_deaf and self._was_deaf:",
            "if is_deaf:",
            "worker/test_watchdog.py::test_two_looks_that_find_the_same_have_it_connect_anew",
        ),
    ),
]
