"""Mutations of what watches and controls."""

from .row import of

MUTATIONS = [
    *of(
        "monitor/check",
        "system/test_cli.py",
        (
            '"ok": not any(part["problems"] for part in parts)',
            '"ok": True',
            "system/test_cli.py::test_check_tells_what_is_away",
        ),
    ),
    *of(
        "monitor/control",
        "system/test_many_at_once.py system/test_cli.py faults/test_spool.py",
        (
            "if not one.changed and one.state not in action.content",
            "if not one.changed",
            "system/test_cli.py::test_a_command_given_twice_is_no_error",
        ),
        ("states = [State.FAILED, State.PARTIAL]", "states = [State.FAILED]"),
    ),
    *of(
        "monitor/health",
        "system/test_health.py system/test_cli.py",
        (
            "    if too_old := problem_of_version(server):\n        yield too_old\n",
            "",
            "store/test_version.py::test_all_say_the_same_of_an_old_server",
        ),
        (
            "if uses_embedded_server() and not is_running(home()):",
            "if False:",
            "packaging/test_demo.py::test_health_says_how_to_start_what_is_not_running",
        ),
        (
            'if not found["workers"]:',
            "if False:",
            "system/test_health.py::test_a_worker_is_silent_at_first_and_forgotten_later",
        ),
        (
            'if not server.get("aof_enabled"):',
            "if False:",
            "system/test_cli.py::test_check_tells_what_is_not_safe",
        ),
        (
            "    problems += _problems_of_spool()\n",
            "",
            "faults/test_spool.py::test_a_damaged_file_is_put_aside_and_the_others_go_on",
        ),
        (
            "    if waiting.oldest > OVERDUE_BY:\n",
            "    if False:\n",
            "system/test_health.py::test_what_the_spool_holds_is_overdue_after_a_minute",
        ),
    ),
    *of(
        "monitor/report",
        "system/test_many_at_once.py system/test_cli.py faults/test_spool.py",
        (
            "domain_of(a) == self.domain.lower()",
            "self.domain.lower() in domain_of(a)",
            "system/test_cli.py::test_list_finds_by_state_address_and_domain",
        ),
    ),
    *of(
        "monitor/text",
        "system/test_cli.py",
        (
            '"".join(c if c.isprintable() else "\\N{REPLACEMENT CHARACTER}" for c in str(value))',
            "str(value)",
            "system/test_cli.py::test_a_terminal_never_obeys_what_a_message_says",
        ),
    ),
]
