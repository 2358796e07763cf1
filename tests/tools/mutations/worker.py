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
            "    if lifeline:\n",
            "    if False:\n",
            "system/test_up.py::test_a_worker_does_not_outlive_a_killed_up",
        ),
    ),
    *of(
        "worker/timer",
        "system/test_retention.py faults/test_operations.py faults/test_worker_death.py",
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
        ("        end_connection(number)\n", ""),
        ("_LONGEST_WAIT_AT_END if in_haste else _LONGEST_WAIT)", "_LONGEST_WAIT)"),
        (
            "if is_deaf and self._was_deaf:",
            "if is_deaf:",
            "worker/test_watchdog.py::test_two_looks_that_find_the_same_have_it_connect_anew",
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
