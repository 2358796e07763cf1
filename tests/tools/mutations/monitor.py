"""Mutations of what watches and controls."""

from .row import of

MUTATIONS = [
    *of(
        "monitor/check",
        "system/test_cli.py",
        (
            "list(_problems_of_login(journal))",
            "[]",
            "system/test_server_options.py::test_check_names_what_a_login_of_the_journal_may_not_do",
        ),
        (
            'not any(part["problems"] for part in parts)',
            "True",
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
            "        return [*found, obstacle]",
            "        found.append(obstacle)",
            "contracts/test_journal_condition.py::"
            "test_health_names_a_full_journal_and_asks_for_no_worker",
        ),
        (
            "UNKNOWN: 2",
            "UNKNOWN: 1",
            "system/test_cli.py::test_health_tells_by_its_exit_status",
        ),
        (
            'if not server.get("aof_enabled"):',
            "if False:",
            "system/test_cli.py::test_check_tells_what_is_not_safe",
        ),
        (
            "        found += _problems_of_spool()\n",
            "",
            "faults/test_spool.py::test_a_damaged_file_is_put_aside_and_the_others_go_on",
        ),
        (
            "    if waiting.oldest > STUCK_AFTER:\n",
            "    if False:\n",
            "system/test_health.py::test_what_the_spool_holds_is_overdue_after_a_minute",
        ),
    ),
    *of(
        "monitor/judgement",
        "monitor/test_judgement.py",
        ("pulse.oldest < STUCK_AFTER", "pulse.oldest <= STUCK_AFTER"),
        ("for age in (pulse.claimed, pulse.settled)", "for age in (pulse.claimed,)"),
        ("default=STUCK_AFTER)", "default=0)"),
        ("if used is not None and mailer.name not in used:", "if False:"),
        (
            "for queue in facts.queues for beat in queue.takers]",
            "for beat in facts.beats.values()]",
        ),
        ("elif waits and mailer.since >= STUCK_AFTER:", "elif waits:"),
        ("return self.meant or self.unsent > 0", "return True"),
        ("    elif not facts.broker:  # for want", "    else:  # for want"),
        ("excused = bool(facts.broker) or any(_of_mailers(facts))", "excused = False"),
        ("longest >= _IN_HAND_FOR_EVER", "longest > _IN_HAND_FOR_EVER"),
    ),
    *of(
        "monitor/neighbour",
        "system/test_neighbours.py",
        ('_LOCAL = {"localhost", "127.0.0.1", "::1", ""}', "_LOCAL: set[str] = set()"),
        ('rest.replace("virtual_host=", "db=")', "rest"),
        ("key.partition(_PRIORITY)[0] in of_tasks", "key in of_tasks"),
        ("if found.broker and not warnings:", "if found.broker:"),
        ("if found.broker and not warnings:", "if False:"),
    ),
    *of(
        "monitor/subject",
        "system/test_subject.py",
        ("redact(journal_url())", "journal_url()"),
        ("str(home()) if uses_embedded_server() else None", "str(home())"),
        ("    if module:\n", "    if False:\n"),
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
