"""Mutations of what runs and watches: workers, the embedded server, the command line, the inbox."""

from .row import of

MUTATIONS = [
    *of(
        "monitor/check",
        "integration/test_cli.py",
        (
            '"ok": not any(part["problems"] for part in parts)',
            '"ok": True',
            "integration/test_cli.py::test_check_tells_what_is_away",
        ),
    ),
    *of(
        "monitor/control",
        "integration/test_cli.py faults/test_operations.py",
        (
            "if not one.changed and one.state not in action.content",
            "if not one.changed",
            "integration/test_cli.py::test_a_command_given_twice_is_no_error",
        ),
    ),
    *of(
        "monitor/report",
        "contracts/test_many_at_once.py integration/test_cli.py faults/test_spool.py",
        (
            "domain_of(a) == self.domain.lower()",
            "self.domain.lower() in domain_of(a)",
            "integration/test_cli.py::test_list_finds_by_state_address_and_domain",
        ),
    ),
    *of(
        "monitor/control",
        "contracts/test_many_at_once.py integration/test_cli.py faults/test_spool.py",
        ("states = [State.FAILED, State.PARTIAL]", "states = [State.FAILED]"),
    ),
    *of(
        "monitor/text",
        "integration/test_cli.py",
        (
            '"".join(c if c.isprintable() else "\\N{REPLACEMENT CHARACTER}" for c in str(value))',
            "str(value)",
            "integration/test_cli.py::test_a_terminal_never_obeys_what_a_message_says",
        ),
    ),
    *of(
        "cli/acting",
        "integration/test_cli.py",
        (
            "if asking and ids and not choice.ids:",
            "if False:",
            "integration/test_cli.py::test_what_can_not_be_undone_is_asked_first",
        ),
    ),
    *of(
        "worker/timer",
        "contracts/test_retention.py faults/test_operations.py faults/test_worker_death.py",
        ("options.KEEP_SENT if state is State.SENT else options.KEEP_FAILED", "options.KEEP_SENT"),
    ),
    *of(
        "worker/watchdog",
        "unit/test_hearing.py",
        (
            "if is_deaf and self._was_deaf:",
            "if False:",
            "unit/test_hearing.py::test_two_looks_that_find_the_same_have_it_connect_anew",
        ),
        (
            "if is_deaf and self._was_deaf:",
            "if is_deaf:",
            "unit/test_hearing.py::test_two_looks_that_find_the_same_have_it_connect_anew",
        ),
    ),
    *of(
        "store/spin",
        "unit/test_waiting.py",
        (
            "min(2 * self._to_pass, _MOST_PASSED)",
            "2 * self._to_pass",
            "unit/test_waiting.py::test_a_server_that_is_far_away_is_slept_for",
        ),
        (
            "type(connected).__module__ not in _KINDS",
            "False",
            "unit/test_waiting.py::test_a_greenlet_keeps_no_others_waiting",
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
        "local/process",
        "integration/test_up.py integration/test_signals.py",
        (
            "            LIFELINE: str(lifeline),\n",
            "",
            "integration/test_up.py::test_a_worker_does_not_outlive_a_killed_up",
        ),
    ),
    *of(
        "local/embedded",
        "integration/test_embedded.py",
        (
            '"appendonly": "yes"',
            '"appendonly": "no"',
            "integration/test_embedded.py::test_is_configured_for_a_journal",
        ),
        (
            '"maxmemory-policy": "noeviction"',
            '"maxmemory-policy": "allkeys-lru"',
            "integration/test_embedded.py::test_is_configured_for_a_journal",
        ),
    ),
    *of(
        "local/inbox",
        "integration/test_inbox.py",
        (
            "        if address in self._deferred:\n",
            "        if False:\n",
            "integration/test_inbox.py::test_a_4yz_tag_is_refused_once",
        ),
    ),
    *of(
        "local/smtpd",
        "integration/test_inbox.py",
        (
            "enable_SMTPUTF8=True",
            "enable_SMTPUTF8=False",
            "integration/test_inbox.py::test_international_addresses",
        ),
    ),
    *of(
        "testing/assertions",
        "integration/test_testing.py",
        (
            "re.escape(wanted[name])",
            "wanted[name]",
            "unit/test_testing_assertions.py::test_a_subject_is_found_as_it_is_written",
        ),
        (
            "    if unknown:\n        raise TypeError",
            "    if False:\n        raise TypeError",
            "integration/test_testing.py::test_an_applications_tests_run_with_the_fixtures",
        ),
    ),
]
