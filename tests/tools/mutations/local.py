"""Mutations of what runs on one laptop: the embedded server, the inbox, `up`."""

from .row import of

MUTATIONS = [
    *of(
        "local/embedded",
        "system/test_embedded.py",
        (
            '"appendonly": "yes"',
            '"appendonly": "no"',
            "system/test_embedded.py::test_is_configured_for_a_journal",
        ),
        (
            '"maxmemory-policy": "noeviction"',
            '"maxmemory-policy": "allkeys-lru"',
            "system/test_embedded.py::test_is_configured_for_a_journal",
        ),
    ),
    *of(
        "local/heartbeat",
        "system/test_heartbeat.py",
        ("elif age <= _ALIVE_WITHIN:", "else:"),
        ("age = abs(time.time()", "age = (time.time()"),
        ("                path.unlink()\n", "                pass\n"),
        ('f"{socket.gethostname()}.*.json"', '"*.json"'),
        ("            self._warned = True\n", ""),
    ),
    *of(
        "local/inbox",
        "system/test_inbox.py",
        (
            "        if address in self._deferred:\n",
            "        if False:\n",
            "system/test_inbox.py::test_a_4yz_tag_is_refused_once",
        ),
    ),
    *of(
        "local/process",
        "system/test_up.py system/test_signals.py",
        (
            "            LIFELINE: str(lifeline),\n",
            "",
            "system/test_up.py::test_a_worker_does_not_outlive_a_killed_up",
        ),
    ),
    *of(
        "local/smtpd",
        "system/test_inbox.py",
        (
            "enable_SMTPUTF8=True",
            "enable_SMTPUTF8=False",
            "system/test_inbox.py::test_international_addresses",
        ),
    ),
    *of(
        "local/stop",
        "system/test_signals.py",
        (
            " if signal.getsignal(number) is not signal.SIG_IGN]",
            "]",
            "system/test_signals.py::test_one_that_is_ignored_stays_so",
        ),
        (
            "signal.signal(number, signal.SIG_IGN if stop.wait(0) else handler)",
            "signal.signal(number, handler)",
            "system/test_signals.py::test_those_after_the_first_change_nothing",
        ),
        (
            "numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)",
            "numbers = (signal.SIGINT, signal.SIGHUP)",
            "system/test_signals.py::test_one_that_interrupts_nobody_ends_the_wait",
        ),
    ),
    *of(
        "local/up",
        "system/test_up.py",
        (
            "if server is not None and server.revive():",
            "if False:",
            "system/test_up.py::test_up_starts_its_server_again_when_that_is_killed",
        ),
        (
            '"EMAIL_PORT": str(inbox.port)}',
            "}",
            "system/test_up.py::test_up_runs_everything_and_ctrl_c_ends_all_of_it",
        ),
        (
            '        lines += [f"  MAILQUEUE_HOME={home()}"]\n',
            "        pass\n",
            "system/test_up.py::test_up_runs_everything_and_ctrl_c_ends_all_of_it",
        ),
    ),
]
